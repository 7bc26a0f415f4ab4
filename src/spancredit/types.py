"""The values that pass between the stages, and the key to the shape suffixes.

Shape suffixes on tensors: `B` rollouts, `T` completion tokens, `L` prompt and completion tokens, `K` spans,
`A` answer tokens, `V` vocabulary. `logps_A` is a vector over the answer's tokens.

Token indices are half-open ranges into `Rollout.completion_ids` unless a name says otherwise.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch


@dataclass(frozen=True)
class Probe:
    """A question whose answer is short, asked after a completion that has no answer of its own.

    What supports the value is worth more in a completion with a positive advantage, and what stands against it in one
    with a negative.

    Args:
        suffix_ids: Token ids of what is asked, such as a call of a function that the completion defines. May be empty.
        value_ids: Token ids of what should be said: the outcome whose log-probability is measured. At least one.
    """

    suffix_ids: Sequence[int]
    value_ids: Sequence[int]


@dataclass(frozen=True)
class Rollout:
    """One sampled completion.

    Args:
        prompt_ids: Token ids of the prompt, unpadded; at least one.
        completion_ids: Token ids as they were sampled, unpadded. They are the truth and never re-tokenised.
        advantage: The rollout's advantage. At exactly 0 the rollout is not scored, since its weights cannot matter.
        loss_mask: 1 for each completion token that the loss counts, else 0 (tool output); all ones if None.
        probe: Asked after the completion, in the place of an answer in it. It follows what the completion says: special
            tokens at its end are left out.
    """

    prompt_ids: Sequence[int]
    completion_ids: Sequence[int]
    advantage: float | None = None
    loss_mask: Sequence[int] | None = None
    probe: Probe | None = None


@dataclass(frozen=True)
class Span:
    """A half-open token range of a completion: `completion_ids[start:end]`, what it is, and how it reads."""

    start: int
    end: int
    kind: str
    text: str = ""

    @property
    def size(self) -> int:
        return self.end - self.start


@dataclass(frozen=True)
class SpanCredit(Span):
    """A span with what its masking did.

    Args:
        drop: Clean minus masked log-probability of the answer, in nats. Signed: negative if masking helped. Under a
            proxy, its score.
        importance: The drop above the noise floor, normalised to [0, 1] within the completion.
        weight: What multiplies the advantage of the span's tokens.
    """

    drop: float = 0.0
    importance: float = 0.0
    weight: float = 1.0


@dataclass(frozen=True)
class Cost:
    """What scoring took.

    Args:
        tokens: Tokens that went through the model, padding included.
        forwards: Forward calls; one that several rollouts share counts at the first of them.
        fallbacks: Sequences that the chosen scorer could not take and a slower, equal one did.
        halved: Times that scoring ran out of memory and began again with half the tokens in a forward, counted at the
            first rollout.
        runs: Programs that were run; one that several rollouts share counts at the first of them.
    """

    tokens: int = 0
    forwards: int = 0
    fallbacks: int = 0
    halved: int = 0
    runs: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


@dataclass(frozen=True, eq=False)
class Credit:
    """The credit of one rollout.

    Args:
        token_weights: float32 `(T,)`, what multiplies each token's advantage; mean 1 over the tokens of the loss.
        spans: The reasoning, in order. Empty where none was scored.
        answer: Where the answer is, or None.
        answer_logp: Clean log-probability of the answer's tokens, in nats; None if it was not scored.
        reason: None, or why every weight is 1: one of `REASONS`.
        cost: What scoring this rollout took.
        influence: float32 `(K, K)`, nats, if `CreditConfig.influence` asked for it: at `[i, j]` what span `j`'s
            log-probability falls by when span `i`, which stands before it, is masked; 0 elsewhere.
        method: How its drops were measured: `exact`, `coarse` (stretches first), `horizon_N`, a proxy's
            name, `blame` (surprisal in the place of drops, under the mode of that name), `execution`, `exchange`, or
            `given` (by the caller).
        agreement: Rank correlation of the drops with exact ones, where a budget had this rollout checked.
    """

    token_weights: torch.Tensor
    spans: tuple[SpanCredit, ...] = ()
    answer: Span | None = None
    answer_logp: float | None = None
    reason: str | None = None
    cost: Cost = Cost()
    influence: torch.Tensor | None = None
    method: str | None = None
    agreement: float | None = None

    def _repr_html_(self) -> str:
        """How a notebook shows it. It asks a view, which then is loaded; values know no view until one is asked."""
        from spancredit.report.notebook import credit_html

        return credit_html(self)


REASONS = {
    "uniform": "the mode is uniform, which measures nothing",
    "zero_advantage": "the advantage is 0, so no weight can matter",
    "no_loss_token": "no token of the loss has any weight",
    "empty_completion": "the completion has no token",
    "all_padding": "the completion is padding only",
    "no_answer": "no answer was found in the completion",
    "no_span": "nothing stands before the answer",
    "no_program": "the completion has no program that could be run as it is written",
    "over_model_limit": "prompt and completion are longer than the model's position limit",
    "non_finite": "a log-probability of the answer is NaN or infinite",
    "over_budget": "the budget did not reach as far as this rollout",
    "below_noise_floor": "no span's drop counts: above the noise floor, or below 0 where a known outcome is blamed",
}
