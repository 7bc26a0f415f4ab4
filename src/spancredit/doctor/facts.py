"""What a trial showed, as plain numbers, texts and names: all that the checks read, and nothing that needs a model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from spancredit.config import CreditConfig

CUT_OFF = "cut off before it"  # why an answer is missing that might have come


@dataclass(frozen=True)
class Setup:
    """What was asked for, and what model and tokenizer bring along.

    Args:
        model, task: Their names.
        credit: The credit settings, at the temperature of sampling.
        max_completion_length: In tokens.
        dynamic_sampling_rounds: As training will have them; the trial has none.
        bent: Settings of sampling by which the sampled policy is not the one that is scored, such as `top_p=0.9`.
        dropouts: Those above 0 that training mode would apply, by name.
        pad: Whether the tokenizer has a pad token of its own, the end of a sequence for one, or none.
        ends: Tokens at which a completion ends.
        has_template: Whether the tokenizer has a chat template.
        chat_signs: What speaks for a chat model: words of its name, tokens of turns.
        max_positions: Of the model; None if it does not say.
        prompt_end: The end of the first prompt, as the model reads it.
        longest_prompt: In tokens, of the trial's.
        unpackable: Why the model cannot be packed; None if it can.
        other_engine: Whether training samples with vLLM, which the trial does not.
    """

    model: str
    task: str
    credit: CreditConfig = field(default_factory=CreditConfig)
    max_completion_length: int = 512
    dynamic_sampling_rounds: int = 0
    bent: Sequence[str] = ()
    dropouts: Mapping[str, float] = field(default_factory=dict)
    pad: Literal["own", "end", "none"] = "own"
    ends: Sequence[str] = ()
    has_template: bool = False
    chat_signs: Sequence[str] = ()
    max_positions: int | None = None
    prompt_end: str = ""
    longest_prompt: int = 0
    unpackable: str | None = None
    other_engine: bool = False


@dataclass(frozen=True)
class Completion:
    """One sampled completion.

    Args:
        group: Which prompt it answers; completions of one prompt are judged by each other.
        text: Without special tokens.
        tokens: How many, the end of the sequence included.
        truncated: Whether the limit on tokens ended it.
        reward: NaN where no reward function applied.
        judged: Whether the task's judge reads an answer in it, right or wrong; None if it does not say.
        answer: The text of the answer that credit would measure; None if none was found.
        missing: Why none was found.
        inside: Special tokens and markers inside the answer, which should hold the value alone.
        retokenised: Where its text has other ids than were sampled, in words; None if it has the same.
        reason: Why the trainer left it uniform, one of `types.REASONS`, or None.
        alone: The same if its advantage were not asked for.
        drops: Of its spans, in nats or as a proxy scores; without regard to its advantage.
        weights: The smallest and the largest token weight.
    """

    group: int
    text: str
    tokens: int
    truncated: bool = False
    reward: float = 0.0
    advantage: float = 0.0
    judged: bool | None = None
    answer: str | None = None
    missing: str | None = None
    inside: Sequence[str] = ()
    retokenised: str | None = None
    reason: str | None = None
    alone: str | None = None
    drops: Sequence[float] = ()
    weights: tuple[float, float] = (1.0, 1.0)


@dataclass(frozen=True)
class Comparison:
    """The scorer beside the definition, on a few rollouts.

    Args:
        rollouts, numbers: How many; how many log-probabilities of answers.
        largest: Largest difference, in nats.
        beyond: How many differ by more than rounding in this dtype can.
        dtype: Of the weights, or of autocast.
    """

    rollouts: int
    numbers: int
    largest: float
    beyond: int
    dtype: str


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
        tokens, forwards, fallbacks: Of scoring.
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
    full: float = 0.0
    alternatives: Sequence[Alternative] = ()

    @property
    def rest(self) -> float:
        return self.generation + self.other + self.iterations * self.training

    @property
    def share(self) -> float:
        """Of a step: as timed, or where nothing was scored as it would be if everything were."""
        credit = self.credit if self.tokens else self.full
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


@dataclass(frozen=True)
class Facts:
    """All of it.

    Args:
        noise: How far training mode moves the log-probability of a sampled token, at most, in nats.
        statuses: Shares of completions by how they fared, where the task says.
    """

    setup: Setup
    completions: Sequence[Completion]
    comparison: Comparison | None = None
    noise: float = 0.0
    statuses: Mapping[str, float] = field(default_factory=dict)
    cost: Cost | None = None
    memory: Memory | None = None
