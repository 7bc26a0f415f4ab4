"""What credit costs by the sizes of the work, the policy and the ranks: counted, with no model run and no timing.

rows of a rollout -> tokens, parts, forwards, multiply-adds;  objects of the right shape, pickled -> bytes
"""

import io
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch

from spancredit.bench.price import Need, Piece
from spancredit.bench.work import ANSWER, MARKER
from spancredit.counterfactual.interventions import Row
from spancredit.counterfactual.jobs import Job
from spancredit.counterfactual.measure import Measured, Measurement, Target
from spancredit.types import Cost, Credit, Rollout, Span, SpanCredit

SEVERAL = 8  # objects that are pickled together, since names are sent once


@dataclass(frozen=True)
class Work:
    """Rollouts of one prompt, scored together by `packed` under the intervention `pad`; sizes in tokens.

    Spans tile the reasoning evenly, as in `spancredit.bench.work.random_work`.

    Args:
        group: Rollouts.
        vocab: Ids are drawn from it evenly, which decides how many bytes they take when pickled.
    """

    prompt: int
    completion: int
    spans: int
    group: int
    vocab: int
    horizon: int | None = None

    @property
    def size(self) -> int:
        """Of a row."""
        return self.prompt + self.completion

    @property
    def bounds(self) -> list[int]:
        """Positions at which spans begin, and at which the last one ends."""
        reasoning = self.completion - MARKER - ANSWER
        return [self.prompt + reasoning * i // self.spans for i in range(self.spans + 1)] if self.spans else []

    @property
    def branches(self) -> list[tuple[int, int, bool]]:
        """For every span: the position from which its row is its own, how many tokens, and whether it resumes."""
        found, last = [], self.size - 1  # the last token is predicted and never read
        for start, end in pairwise(self.bounds):
            if self.horizon is not None and end + self.horizon < self.size - ANSWER - 1:
                found.append((start, end + self.horizon - start + ANSWER, True))
            else:
                found.append((start, last - start, False))
        return found

    @property
    def rows(self) -> list[int]:
        """Tokens that each row adds to those before it: clean rows, each with its counterfactuals behind it.

        The prompt is the first rollout's, and so are the pads of the first span, which all of the group begin with.
        """
        branches = [size for _, size, _ in self.branches]
        later = [branches[0] - (self.bounds[1] - self.bounds[0]), *branches[1:]] if branches else []
        return [self.size - 1, *branches] + [self.completion - 1, *later] * (self.group - 1)

    @property
    def tokens(self) -> int:
        """Through the trunk, without padding."""
        return sum(self.rows)

    @property
    def asked(self) -> int:
        """Positions whose logits are made."""
        return self.group * (1 + self.spans) * ANSWER

    @property
    def price(self) -> int:
        """What `jobs.price` says of one rollout, by which ranks share out the work."""
        return self.size + sum(size + 1 for _, size, _ in self.branches)

    def need(self) -> Need:
        """The same as `spancredit.bench` prices it."""
        own = [Piece(self.prompt, self.size - 1)]  # pads that a group shares are few and left out here
        for start, size, resumes in self.branches:
            own.append(Piece(start, start + size - ANSWER * resumes))
            if resumes:
                own.append(Piece(self.size - ANSWER - 1, self.size - 1))
        return Need([Piece(0, self.prompt), *own * self.group], self.asked)


def parts_of(works: Sequence[Work], full: int, most: int) -> int:
    """Parts that the rows are cut into, by the rule of `parts.cut`: as many forwards where no two share one."""
    parts, filled = 0, 0
    for work in works:
        for nth, size in enumerate(work.rows):
            if filled and (nth == 0 or filled + size > full):
                parts, filled = parts + 1, 0
            filled += size
            while filled > most:
                parts, filled = parts + 1, filled - most
    return parts + bool(filled)


def id_bytes(vocab: int) -> float:
    """Mean bytes of a pickled id: 2 below 256, 3 below 65536, else 5."""
    bounds = [0, *(min(vocab, bound) for bound in (2**8, 2**16)), vocab]
    return sum(size * (b - a) for size, (a, b) in zip((2, 3, 5), pairwise(bounds), strict=True)) / vocab


def pickled(found: Any) -> int:
    """Bytes of an object as torch.distributed sends it."""
    buffer = io.BytesIO()
    pickle.Pickler(buffer).dump(found)
    return buffer.tell()


def of_ids(found: Any, ids: int, vocab: int) -> float:
    """Bytes of an object that holds so many ids, all 0, had they been drawn from the vocabulary."""
    return pickled(found) + ids * (id_bytes(vocab) - id_bytes(1))


def parcel_bytes(work: Work, jobs: int) -> tuple[float, float]:
    """What a rank sends that gives this many jobs to another, and what comes back."""
    there, back = [], []
    for lot in range(jobs):  # objects of their own: pickle sends one that it has met as a reference
        row = Row(tuple([0] * work.size), ((work.size - ANSWER, work.size),))
        spans = tuple((start, start + 1) for start, _, _ in work.branches)
        there.append(Job(Target(row, spans), work.size, False, 2**32 - 1 - lot))
        drops = tuple(lot + i / 7 for i in range(work.spans))
        back.append(Measurement(Measured(-1.0 - lot, drops, Cost(10**5 + lot, 10 + lot)), "exact"))
    return of_ids([there], jobs * work.size, work.vocab), pickled([back])


def price_bytes(work: Work, jobs: int) -> int:
    """What a rank tells the others of its jobs' prices."""
    return pickled([work.price + i for i in range(jobs)])


def row_bytes(work: Work) -> float:
    """A rollout as dynamic sampling gathers it: ids and masks, the sampler's log-probabilities, an advantage."""
    rows = []
    for _ in range(SEVERAL):
        names = ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask")
        sizes = (work.prompt, work.prompt, work.completion, work.completion)
        row = {name: torch.zeros(size, dtype=torch.long) for name, size in zip(names, sizes, strict=True)}
        rows.append(row | {"old_per_token_logps": torch.zeros(work.completion), "advantages": torch.tensor(0.0)})
    return pickled(rows) / SEVERAL


def record_bytes(work: Work, characters: float) -> float:
    """A rollout with its credit as an observer is given it.

    Args:
        characters: Of a span's text, for each of its tokens.
    """
    found, bounds = [], [position - work.prompt for position in work.bounds]
    for nth in range(SEVERAL):
        spans = tuple(
            SpanCredit(
                a, b, "text", chr(97 + nth) * round(characters * (b - a)), nth + a / 7, nth + a / 9, nth + a / 11
            )
            for a, b in pairwise(bounds)
        )
        answer = Span(work.completion - ANSWER, work.completion, "answer", "12")
        credit = Credit(
            torch.ones(work.completion), spans, answer, -1.0 - nth, None, Cost(10**5 + nth, 10), None, "exact"
        )
        found.append((Rollout([0] * work.prompt, [0] * work.completion, 0.5 + nth), credit))
    return of_ids(found, SEVERAL * work.size, work.vocab) / SEVERAL
