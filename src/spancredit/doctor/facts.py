"""What a trial showed, as plain numbers, texts and names: all that the checks read, and nothing that needs a model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from spancredit.config import CreditConfig
from spancredit.doctor.spending import Cost, Memory
from spancredit.tasks.settings import BY_EXECUTION

CUT_OFF = "cut off before it"  # why an answer is missing that might have come


@dataclass(frozen=True)
class Setup:
    """What was asked for, and what model and tokenizer bring along.

    Args:
        model, task: Their names.
        credit: The credit settings, at the temperature of sampling.
        outcome: What a span's absence is measured on, of `tasks.settings.OUTCOMES`.
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
    outcome: str = "answer"
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

    @property
    def by_tests(self) -> bool:
        """Whether drops are in the share of tests that pass, and no model is asked."""
        return self.outcome in BY_EXECUTION

    @property
    def may_be_longer(self) -> bool:
        """Whether the model has positions for completions beyond the limit."""
        return self.max_positions is None or self.longest_prompt + self.max_completion_length < self.max_positions


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
        weights: The smallest and the largest of its spans.
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
