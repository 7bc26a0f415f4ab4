"""What was measured, in a few numbers: the head of the doctor's report."""

import math
from collections.abc import Sequence
from statistics import fmean, median
from typing import Any

from spancredit.doctor.facts import Completion, Facts


def summary(facts: Facts) -> dict[str, Any]:
    """Plain data; None where nothing was measured. Shares are of the completions, lengths in tokens."""
    some, cost, comparison = facts.completions, facts.cost, facts.comparison
    rewards = [one.reward for one in some if not math.isnan(one.reward)]
    return {
        "model": facts.setup.model,
        "task": facts.setup.task,
        "mode": facts.setup.credit.mode,
        "completions": len(some),
        "prompts": len({one.group for one in some}),
        "prompt": {"longest": facts.setup.longest_prompt, "end": facts.setup.prompt_end},
        "length": {"median": median(one.tokens for one in some), "longest": max(one.tokens for one in some)},
        "truncated": _share(some, [one.truncated for one in some]),
        "reward": fmean(rewards) if rewards else None,
        "answers": _share(some, [one.answer is not None for one in some]),
        "with_advantage": _share(some, [one.advantage != 0 for one in some]),
        "scored": _share(some, [one.reason is None for one in some]),
        "largest_difference": comparison.largest if comparison else None,
        "training_noise": facts.noise,
        "credit_share": cost.share if cost else None,
        "seconds": {"generation": cost.generation, "credit": cost.credit, "training": cost.training} if cost else None,
    }


def _share(completions: Sequence[Completion], holds: Sequence[bool]) -> float:
    return sum(holds) / len(completions)
