"""What credit takes beside the rest of a step, in seconds and bytes, and what would make it less."""

from collections.abc import Sequence
from dataclasses import dataclass

DEAR = 0.2  # the share of a step from which alternatives are worth their time


@dataclass(frozen=True)
class Alternative:
    """What a setting would make of the cost.

    Args:
        setting: Such as `credit_horizon=64`.
        share: Of a step.
        measured, of: Rollouts that would be measured, and that are now.
        methods: How.
    """

    setting: str
    share: float
    measured: int
    of: int
    methods: Sequence[str] = ()


@dataclass(frozen=True)
class Cost:
    """Seconds of the timed step, and what scoring did in it.

    Args:
        training: Loss, backward and update, once over the completions.
        other: Step advantages.
        iterations: How often training will go over a batch.
        completions: Of the step.
        scored: Of them, how many were measured.
        tokens, forwards, fallbacks, runs: Of scoring.
        full: Seconds of exact credit if every completion of the step had an advantage; 0 under a budget.
    """

    generation: float
    credit: float
    training: float
    other: float = 0.0
    iterations: int = 1
    completions: int = 0
    scored: int = 0
    tokens: int = 0
    forwards: int = 0
    fallbacks: int = 0
    runs: int = 0
    full: float = 0.0
    alternatives: Sequence[Alternative] = ()

    @property
    def rest(self) -> float:
        return self.generation + self.other + self.iterations * self.training

    @property
    def share(self) -> float:
        """Of a step: as timed, or where nothing was scored as it would be if everything were."""
        credit = self.credit if self.tokens or self.runs else self.full
        return credit / (credit + self.rest)

    @property
    def largest_share(self) -> float:
        """If everything were scored and generation took no time: a larger batch is generated faster for its size."""
        credit = max(self.credit, self.full)
        return credit / (credit + self.rest - self.generation)


@dataclass(frozen=True)
class Memory:
    """Bytes beyond what was there before; None where the machine does not say.

    Args:
        credit: Peak of scoring all of the trial's completions.
        training: Peak of loss, backward and update of a step.
        free: Left when the trial was over.
        tokens, forwards: Of that scoring.
        micro_batch: Completions in a backward, of the trial and of training.
    """

    credit: int | None = None
    training: int | None = None
    free: int | None = None
    tokens: int = 0
    forwards: int = 0
    micro_batch: tuple[int, int] = (1, 1)
