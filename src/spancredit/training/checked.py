"""CheckedTrainer: TRL's GRPOTrainer that refuses what no one can train with, and keeps what its last batch answers."""

import math
from typing import Any

import torch
from accelerate.utils import gather_object
from datasets import IterableDataset
from trl import GRPOConfig, GRPOTrainer

from spancredit.errors import TrainerError
from spancredit.training.finite import FiniteWeights
from spancredit.training.rewards import check_finite, checked

UNREWARDED = "frac_reward_none"  # named as TRL's frac_reward_zero_std is


class CheckedTrainer(GRPOTrainer):
    """`trl.GRPOTrainer` with rewards and weights that are numbers, or an error that names what is not.

    A completion that no reward function applies to has no advantage and is no part of its group's baseline;
    `frac_reward_none` is the share of them.

    Raises:
        TrainerError: when training starts, if the dataset has no whole batch; later, if a reward function fails or
            gives what is no finite number, or weights are not finite.
    """

    def __init__(self, *given: Any, **named: Any):
        super().__init__(*given, **named)
        self.add_callback(FiniteWeights())
        self.reward_funcs: list[Any] = list(map(checked, self.reward_funcs, self.reward_func_names))
        self.batch_inputs: list[dict[str, Any]] = []  # of the last batch, this rank: the dataset's row of each rollout
        self.batch_rewards: list[float] = []  # of the last batch, all ranks, weighted sums; NaN where none applied
        self.batch_first_rewards: list[float] = []  # the same of the first reward function alone, without its weight

    def get_train_dataloader(self) -> Any:
        wanted = prompts_per_batch(self.args)
        if not isinstance(self.train_dataset, IterableDataset) and len(self.train_dataset) < wanted:
            raise TrainerError(
                f"the dataset has {len(self.train_dataset)} prompts; expected at least {wanted}, as many as a "
                "generation batch takes, since a smaller one is left out and nothing would be trained."
            )
        return super().get_train_dataloader()

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        self.batch_inputs = inputs
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        return output

    def _calculate_rewards(self, inputs: Any, prompts: Any, *given: Any) -> torch.Tensor:
        rewards_BF: torch.Tensor = super()._calculate_rewards(inputs, prompts, *given)
        if rewards_BF.isinf().any():  # on every rank alike
            check_finite(rewards_BF, self.reward_func_names, gather_object(prompts), self.state.global_step + 1)
        unrewarded_B = rewards_BF.isnan().all(1)
        self._metrics["train" if self.model.training else "eval"][UNREWARDED].append(unrewarded_B.float().mean().item())
        totals_B = (rewards_BF * self.reward_weights.to(rewards_BF.device)).nansum(1)
        self.batch_rewards = totals_B.masked_fill(unrewarded_B, math.nan).tolist()
        self.batch_first_rewards = rewards_BF[:, 0].tolist()
        return rewards_BF


def prompts_per_batch(args: GRPOConfig) -> int:
    """Prompts that a generation batch of all ranks takes."""
    return int(args.generation_batch_size // args.num_generations)
