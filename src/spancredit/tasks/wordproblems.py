"""Embedded task: generated multi-step arithmetic word problems whose truth is known step by step.

Every problem is a chain of amounts: an opening, then events that add, subtract, multiply or divide. The worked
solution writes one sentence for each step (a lead-in that commits to the operation, the equation, the unit), with
filler sentences between them, and ends `#### N`. Splits are disjoint by construction: a question's checksum decides
whether it is held out.
"""

import operator
import random
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from spancredit.tasks import language
from spancredit.tasks.chat import Completion, said
from spancredit.tasks.streams import draws

PROMPT = "Question: {question}\nSolution:"
HELD_OUT_SHARE = 5  # one question in five is held out, whatever the seed


@dataclass(frozen=True)
class Difficulty:
    """How long and how noisy the problems are.

    Args:
        steps: Fewest and most equations in a solution.
        filler: Probability of each possible filler sentence.
        max_fillers: Filler sentences that may stand before one step.
        max_amount: Largest number that any equation contains.
    """

    steps: tuple[int, int] = (2, 4)
    filler: float = 0.4
    max_fillers: int = 1
    max_amount: int = 50


DIFFICULTIES = {
    "easy": Difficulty(steps=(1, 2)),
    "medium": Difficulty(),
    "hard": Difficulty(steps=(4, 6)),
    "long": Difficulty(steps=(5, 8)),
    "noisy": Difficulty(filler=0.8, max_fillers=3),
    "chatty": Difficulty(steps=(1, 2), filler=0.8, max_fillers=3),
}

APPLY = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.floordiv}


@dataclass(frozen=True)
class Step:
    """One equation of the true solution: `left op right = result`."""

    op: str
    left: int
    right: int
    result: int

    def __str__(self) -> str:
        return f"{self.left} {self.op} {self.right} = {self.result}"


@dataclass(frozen=True)
class Problem:
    """A question, its true steps, its answer, and one worked solution (a completion, with a leading space)."""

    question: str
    steps: tuple[Step, ...]
    answer: int
    solution: str

    @property
    def prompt(self) -> str:
        return PROMPT.format(question=self.question)

    @property
    def held_out(self) -> bool:
        return zlib.crc32(self.question.encode()) % HELD_OUT_SHARE == 0

    @property
    def identity(self) -> tuple[str, str]:
        """Two problems are the same if these are: question and answer."""
        return self.question, str(self.answer)

    def row(self) -> dict[str, Any]:
        """The columns that TRL's trainers expect, and the truth that a reward or a judge reads."""
        steps = [str(step) for step in self.steps]
        return {"prompt": self.prompt, "completion": self.solution, "answer": str(self.answer), "steps": steps}


def problems(split: str, seed: int = 0, difficulty: str = "medium") -> Iterator[Problem]:
    """Yield an endless stream of distinct problems; the same arguments give the same stream.

    Raises:
        UnknownNameError: if the split or the difficulty is not one of the known names.
    """
    rng = draws(split, seed, difficulty, DIFFICULTIES)
    seen: set[str] = set()
    while True:
        problem = _draw(rng, DIFFICULTIES[difficulty])
        if problem.held_out == (split == "held_out") and problem.question not in seen:
            seen.add(problem.question)
            yield problem


def reward(completions: Sequence[Completion], answer: Sequence[str], **_: Any) -> list[float]:
    """Exact-match reward: 1 if the text after the last `####` is the answer and nothing else, else 0."""
    return [float(final_answer(said(one)) == gold) for one, gold in zip(completions, answer, strict=True)]


def final_answer(completion: str) -> str | None:
    """What the completion says after its last `####`, stripped; None without the marker."""
    _, marker, tail = completion.rpartition("####")
    return tail.strip() if marker else None


def _draw(rng: random.Random, difficulty: Difficulty) -> Problem:
    name, friend = rng.sample(language.NAMES, 2)
    words = {"name": name, "friend": friend, "things": rng.choice(language.OBJECTS)}
    amount = rng.randint(4, difficulty.max_amount * 2 // 3)
    question = [rng.choice(language.OPENINGS).format(n=amount, **words)]
    solution, steps = [], []
    for _ in range(rng.randint(*difficulty.steps)):
        step = _draw_step(rng, amount, difficulty.max_amount)
        fillers = [
            rng.choice(language.FILLERS) for _ in range(difficulty.max_fillers) if rng.random() < difficulty.filler
        ]
        lead_in = rng.choice(language.LEAD_INS[step.op]).format(**words)
        question.append(rng.choice(language.EVENTS[step.op]).format(k=step.right, **words))
        solution += [*fillers, f"{lead_in} {step} {words['things']}."]
        steps.append(step)
        amount = step.result
    question.append(rng.choice(language.QUESTIONS).format(**words))
    return Problem(" ".join(question), tuple(steps), amount, f" {' '.join(solution)}\n#### {amount}")


def _draw_step(rng: random.Random, amount: int, max_amount: int) -> Step:
    divisors = [k for k in range(2, 10) if amount % k == 0 and amount > k]
    possible = ["+"] * (amount < max_amount) + ["-"] * (amount > 2) + ["*"] * (2 * amount <= max_amount)
    op = rng.choice(possible + ["/"] * bool(divisors))
    if op == "+":
        right = rng.randint(1, max_amount - amount)
    elif op == "-":
        right = rng.randint(1, amount - 1)
    elif op == "*":
        right = rng.randint(2, min(9, max_amount // amount))
    else:
        right = rng.choice(divisors)
    return Step(op, amount, right, APPLY[op](amount, right))
