"""Values by resampling: what a state is worth is the mean reward of fresh continuations (VinePPO, arXiv 2410.01679).

It costs as many generations as there are calculations times continuations: the reference that cheaper credit is judged
by.
"""

from collections.abc import Sequence
from typing import Any

from trl import GRPOTrainer
from trl.data_utils import is_conversational

from spancredit.models import seeded
from spancredit.training.sampling import DynamicSamplingTrainer
from spancredit.training.steps import Path
from spancredit.types import Rollout


class ResamplingTrainer(DynamicSamplingTrainer):
    """`DynamicSamplingTrainer` that can ask what the states on the way of its completions are worth."""

    def resampled_values(
        self, inputs: Sequence[dict[str, Any]], rollouts: Sequence[Rollout], paths: Sequence[Path], count: int
    ) -> list[list[float]]:
        """For each completion the values of the states on its way, the prompt's first, in advantages.

        The prompt's is its group's mean, which is 0. Random states, metrics and logs are left as they were.

        Args:
            inputs: Rows of the dataset, one a completion.
            count: Continuations of each state.
        """
        owners = {
            (*rollout.prompt_ids, *rollout.completion_ids[:end]): b
            for b, (rollout, path) in enumerate(zip(rollouts, paths, strict=True))
            if rollout.advantage
            for end, _ in path
        }
        rewards = self._rewards_of_continuations(inputs, rollouts, owners, count) if owners else []
        worth = {prefix: sum(rewards[i * count : (i + 1) * count]) / count for i, prefix in enumerate(owners)}
        advantages = [rollout.advantage or 0.0 for rollout in rollouts]
        found = []
        for b, (rollout, path) in enumerate(zip(rollouts, paths, strict=True)):
            if not rollout.advantage:
                found.append([0.0] * (1 + len(path)))
                continue
            slope, offset = _scale(b, self.batch_rewards, advantages, self.num_generations)
            ends = [(*rollout.prompt_ids, *rollout.completion_ids[:end]) for end, _ in path]
            found.append([0.0, *(offset + slope * worth[prefix] for prefix in ends)])
        return found

    def _rewards_of_continuations(
        self, inputs: Sequence[dict[str, Any]], rollouts: Sequence[Rollout], owners: dict[Any, int], count: int
    ) -> list[float]:
        """`count` rewards for each prefix, in order; NaN where no reward function applied counts as 0, as in TRL."""
        before = {name: len(values) for name, values in self._metrics["train"].items()}
        logs = {key: list(values) for key, values in self._columns().items()}
        repeated = [(prefix, b) for prefix, b in owners.items() for _ in range(count)]
        with seeded(self.accelerator.device, self.args.seed + self.state.global_step):
            more, _ = self._generate_single_turn([list(prefix) for prefix, _ in repeated], None, {}, count)
        ids = [[*prefix[len(rollouts[b].prompt_ids) :], *new] for (prefix, b), new in zip(repeated, more, strict=True)]
        rows = [dict(inputs[b]) for _, b in repeated]
        texts: list[Any] = self.processing_class.batch_decode(ids, skip_special_tokens=True)
        if is_conversational(rows[0]):
            texts = [[{"role": "assistant", "content": text}] for text in texts]
        rewards_BF = GRPOTrainer._calculate_rewards(self, rows, [row["prompt"] for row in rows], texts, ids)
        self._forget_metrics(before)
        for key, values in self._columns().items():
            values.clear()
            values.extend(logs.get(key, []))
        totals: list[float] = (rewards_BF * self.reward_weights.to(rewards_BF.device)).nansum(1).tolist()
        return totals


def _scale(b: int, rewards: Sequence[float], advantages: Sequence[float], group: int) -> tuple[float, float]:
    """Slope and offset of the line on which the advantages of a completion's group lie over their rewards.

    That line is what TRL made of the rewards, however it scales them.
    """
    first = b // group * group
    points = [(rewards[i], advantages[i]) for i in range(first, first + group) if rewards[i] == rewards[i]]
    low, high = min(points), max(points)
    slope = (high[1] - low[1]) / (high[0] - low[0])
    return slope, low[1] - slope * low[0]
