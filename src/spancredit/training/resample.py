"""Values by resampling: what a state is worth is the mean reward of fresh continuations (VinePPO, arXiv 2410.01679).

It costs as many generations as there are calculations times continuations: the reference for cheaper credit.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import mean
from typing import Any

from trl import GRPOTrainer
from trl.data_utils import is_conversational

from spancredit.randomness import seeded
from spancredit.training.rewards import check_finite
from spancredit.training.sampling import DynamicSamplingTrainer
from spancredit.training.steps import Steps
from spancredit.types import Rollout

Prefix = tuple[int, ...]  # prompt and the beginning of a completion


class ResamplingTrainer(DynamicSamplingTrainer):
    """`DynamicSamplingTrainer` that can ask what the states on the way of its completions are worth."""

    def resampled_values(
        self, inputs: Sequence[dict[str, Any]], rollouts: Sequence[Rollout], steps: Sequence[Steps], count: int
    ) -> list[list[float]]:
        """For each completion the values of the states on its way, the prompt's first, in advantages.

        The prompt's is its group's mean, which is 0. A completion without an advantage gets zeros.

        Args:
            inputs: Rows of the dataset, one a completion.
            count: Continuations of each state.
        """
        owners = {
            prefix: b for b, rollout in enumerate(rollouts) if rollout.advantage for prefix in _ends(rollout, steps[b])
        }
        worth = self._worth(inputs, rollouts, owners, count)
        advantages = [rollout.advantage or 0.0 for rollout in rollouts]
        found = []
        for b, rollout in enumerate(rollouts):
            slope, offset = _line(b, self.batch_rewards, advantages, self.num_generations)
            values = [worth.get(prefix) for prefix in _ends(rollout, steps[b])]
            found.append([0.0, *(0.0 if value is None else offset + slope * value for value in values)])
        return found

    def _worth(
        self, inputs: Sequence[dict[str, Any]], rollouts: Sequence[Rollout], owners: dict[Prefix, int], count: int
    ) -> dict[Prefix, float]:
        """The mean reward of `count` continuations of each prefix, as far as reward functions rated them.

        They end where the completion would have been cut. Random states and TRL's logs are left as they were.
        """
        repeated = [(prefix, b) for prefix, b in owners.items() for _ in range(count)]
        rewards: list[float] = []
        with self._unlogged(), seeded(self.accelerator.device, self.args.seed + self.state.global_step):
            size = max(1, len(rollouts) // count) * count  # prefixes that are continued at a time
            for first in range(0, len(repeated), size):
                rewards += self._rewards_of(inputs, rollouts, repeated[first : first + size], count)
        found = {}
        for i, prefix in enumerate(owners):
            rated = [reward for reward in rewards[i * count : (i + 1) * count] if not math.isnan(reward)]
            if rated:
                found[prefix] = mean(rated)
        return found

    def _rewards_of(
        self,
        inputs: Sequence[dict[str, Any]],
        rollouts: Sequence[Rollout],
        part: Sequence[tuple[Prefix, int]],
        count: int,
    ) -> list[float]:
        """Continue each prefix once, and rate it; NaN where no reward function applies."""
        more, _ = self._generate_single_turn([list(prefix) for prefix, _ in part], None, {}, count)
        begun = [list(prefix[len(rollouts[b].prompt_ids) :]) for prefix, b in part]
        most = self.max_completion_length
        ids = [(old + new)[: max(most, len(old))] for old, new in zip(begun, more, strict=True)]
        rows = [dict(inputs[b]) for _, b in part]
        prompts = [row["prompt"] for row in rows]
        texts: list[Any] = self.processing_class.batch_decode(ids, skip_special_tokens=True)
        if is_conversational(rows[0]):
            texts = [[{"role": "assistant", "content": text}] for text in texts]
        rewards_BF = GRPOTrainer._calculate_rewards(self, rows, prompts, texts, ids)
        check_finite(rewards_BF, self.reward_func_names, prompts, self.state.global_step + 1)
        totals_B = (rewards_BF * self.reward_weights.to(rewards_BF.device)).nansum(1)
        return list(totals_B.masked_fill(rewards_BF.isnan().all(1), math.nan).tolist())

    @contextmanager
    def _unlogged(self) -> Iterator[None]:
        """What reward functions log of continuations is dropped."""
        kept = {name: dict(getattr(self, name)) for name in ("_pending_metrics", "_pending_extra_logs")}
        try:
            yield
        finally:
            for name, values in kept.items():
                getattr(self, name).clear()
                getattr(self, name).update(values)


def _ends(rollout: Rollout, steps: Steps) -> list[Prefix]:
    """Prompt and completion through each of its calculations."""
    return [(*rollout.prompt_ids, *rollout.completion_ids[:end]) for end, _ in steps]


def _line(b: int, rewards: Sequence[float], advantages: Sequence[float], group: int) -> tuple[float, float]:
    """Slope and offset of the line on which the advantages of a completion's group lie over their rewards.

    (0, 0) where the rewards are all equal but for rounding.
    """
    first = b // group * group
    rated = [(rewards[i], advantages[i]) for i in range(first, first + group) if not math.isnan(rewards[i])]
    low, high = min(rated, default=(0.0, 0.0)), max(rated, default=(0.0, 0.0))
    if math.isclose(low[0], high[0], rel_tol=1e-6):
        return 0.0, 0.0
    slope = (high[1] - low[1]) / (high[0] - low[0])
    return slope, low[1] - slope * low[0]
