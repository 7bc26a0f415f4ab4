"""CreditGRPOTrainer: TRL's GRPOTrainer with per-token advantages. The loss, the sampling and the rest stay TRL's."""

import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from accelerate.utils import gather_object
from transformers import ProcessorMixin
from transformers.integrations import is_deepspeed_zero3_enabled

from spancredit.credit import assign_credit
from spancredit.errors import TrainerError
from spancredit.ranks import on_main, talking
from spancredit.training.batch import CreditBatch, padded, rollouts_of
from spancredit.training.card import write_card
from spancredit.training.config import CreditGRPOConfig
from spancredit.training.functions import CreditFunc, ProbeFunc, check_functions, credited
from spancredit.training.groups import even
from spancredit.training.metrics import merge, tally
from spancredit.training.pace import Pace
from spancredit.training.phases import PHASES, Phases
from spancredit.training.resample import ResamplingTrainer
from spancredit.training.steps import group_values, shared, step_advantages, steps_of
from spancredit.types import Credit, Rollout

__all__ = ["CreditBatch", "CreditGRPOConfig", "CreditGRPOTrainer"]


class CreditGRPOTrainer(ResamplingTrainer):
    """`trl.GRPOTrainer` whose advantages are weighted, token by token, with the credit of their span.

    Takes what `GRPOTrainer` takes, and three functions. Credit is measured once for each generation batch, before it is
    shuffled and split, so it holds across inner epochs and micro-batches of any size.

    Args:
        probe_func: Given rollouts and the rows of the dataset that they answer, returns a `Probe` or None for each:
            what is asked after completions that have no answer in them.
        credit_func: Given these and the `CreditConfig`, returns the `Credit` of each rollout, in the place of
            `assign_credit`: for an outcome that is no log-probability. Both are called on every rank with its own
            rollouts, and in mode `uniform` not at all.
        on_credit: Given every `CreditBatch`, on the main process; what other ranks have here is not called.

    Raises:
        TrainerError: at start, if `args` is no `CreditGRPOConfig`, a setting cannot carry per-token
            advantages, or the policy reads images or is sharded in a way that it cannot be scored in.
    """

    def __init__(
        self,
        model: Any,
        reward_funcs: Any = None,
        args: CreditGRPOConfig | None = None,
        *positional: Any,
        probe_func: ProbeFunc | None = None,
        credit_func: CreditFunc | None = None,
        on_credit: Callable[[CreditBatch], None] | None = None,
        **named: Any,
    ):
        if args is not None and not isinstance(args, CreditGRPOConfig):
            raise TrainerError(f"args is a {type(args).__name__}; expected a CreditGRPOConfig.")
        super().__init__(model, reward_funcs, args or CreditGRPOConfig(), *positional, **named)
        if isinstance(self.processing_class, ProcessorMixin) and self.args.per_token:
            raise TrainerError("the policy reads images; expected a text-only policy, since spans are scored from ids.")
        if self.args.credit.mode != "uniform":
            self._check_sharding()
            check_functions(self.args.credit, probe_func, credit_func)
        if self.args.step_advantages == "resampled" and self.accelerator.num_processes > 1:
            raise TrainerError("step_advantages='resampled' runs in one process; expected 'group' with several.")
        self._probe_func, self._credit_func = probe_func, credit_func
        self._on_credit = on_credit
        self._observed = gather_object([on_credit is not None])[0]
        self._group = talking()  # ranks that score together
        self._seconds = dict.fromkeys(PHASES, 0.0)  # since the last optimizer step
        self._pace = Pace()
        self.add_callback(Phases(self))

    def _generate(self, *args: Any, **named: Any) -> Any:
        started = time.perf_counter()
        output = super()._generate(*args, **named)
        if self.model.training:
            self._seconds["generation"] += time.perf_counter() - started
        return output

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output = super()._generate_and_score_completions(inputs)
        if not self.model.training:
            return output
        config = self.args.credit
        started = time.perf_counter()
        functions = self._probe_func, self._credit_func
        rollouts, credits = credited(self._rollouts(output), self.batch_inputs, config, self._assigned, *functions)
        scored = time.perf_counter()
        self._seconds["credit"] += scored - started
        if config.budget:
            tokens = gather_object([sum(credit.cost.tokens for credit in credits)])  # the ranks share out the work
            self._pace.scored(started, scored, mean(tokens))
        if self.args.per_token:
            weights_BT = padded([credit.token_weights for credit in credits], output)
            output = {**output, "advantages": self._own_advantages(inputs, rollouts, output) * weights_BT}
        self._seconds["step_advantages"] += time.perf_counter() - scored
        self._report(rollouts, credits, output)
        return output

    def _rollouts(self, output: dict[str, Any]) -> list[Rollout]:
        """This rank's. Where a group's rewards are all one, its advantages are 0, and no rounding's."""
        rollouts = rollouts_of(output)
        if self.multi_objective_aggregation != "sum_then_normalize":  # where sums that are one can hide what differs
            return rollouts
        none = self._own(even(self.batch_rewards, self.num_generations))
        return [replace(one, advantage=0.0) if is_none else one for one, is_none in zip(rollouts, none, strict=True)]

    def _assigned(self, rollouts: list[Rollout]) -> list[Credit]:
        config = self.args.credit
        allowance = self._allowance(config.budget) if config.budget else None
        with self.accelerator.autocast():
            return assign_credit(self.model, self._tokenizer, rollouts, config, allowance=allowance, group=self._group)

    def create_model_card(self, model_name: Any = None, dataset_name: Any = None, tags: Any = None) -> None:
        """TRL's, told anew: with the base model, the credit settings, the seed, the versions, and the paper."""
        super().create_model_card(model_name, dataset_name, tags)
        if self.is_world_process_zero():
            write_card(self, Path(self.args.output_dir))

    def _save_rng_state(self, output_dir: str) -> None:
        """The last thing that every rank writes of a checkpoint: the trainer's state, after it, says it is complete."""
        super()._save_rng_state(output_dir)
        self.accelerator.wait_for_everyone()

    def _check_sharding(self) -> None:
        shape = self.accelerator.parallelism_config
        if shape is not None and max(shape.tp_size, shape.cp_size, shape.sp_size) > 1:
            raise TrainerError(
                "tensor, context or sequence parallelism is on, whose ranks compute one forward together; expected "
                "data parallelism, in which each rank scores rollouts of its own."
            )
        if self.is_fsdp_enabled and self.accelerator.state.fsdp_plugin.fsdp_version != 2:
            raise TrainerError("the policy is sharded by FSDP's first version; expected fsdp_version: 2.")
        if self.args.credit.scorer == "gradient" and (self.is_fsdp_enabled or is_deepspeed_zero3_enabled()):
            raise TrainerError("credit_scorer is 'gradient', whose backward needs whole weights on every rank.")

    def _allowance(self, budget: float) -> float | None:
        """Tokens that scoring may take on each rank: the mean over ranks, None before all have timed a round."""
        found = gather_object([self._pace.allowance(budget)])
        return None if None in found else mean(found)

    def _own_advantages(
        self, inputs: list[dict[str, Any]], rollouts: list[Rollout], output: dict[str, Any]
    ) -> torch.Tensor:
        """The advantages before credit: `(B, 1)`, or with step advantages `(B, T)`."""
        if self.args.step_advantages == "none":
            return output["advantages"][:, None]
        steps = [steps_of(rollout, self._tokenizer) for rollout in rollouts]
        if self.args.step_advantages == "resampled":
            values = self.resampled_values(inputs, rollouts, steps, self.args.step_resamples)
        else:
            mine = [(rollout.advantage, own) for rollout, own in zip(rollouts, steps, strict=True)]
            advantages, all_steps = zip(*gather_object(mine), strict=True)
            rated = [not math.isnan(reward) for reward in self.batch_rewards]
            values = self._own(group_values(advantages, all_steps, rated, self.num_generations))
            self._metrics["train"]["step_advantages/shared"].append(shared(all_steps, self.num_generations))
        rows = [
            step_advantages(advantage, own, some, len(rollout.completion_ids))
            for advantage, own, some, rollout in zip(
                output["advantages"].tolist(), steps, values, rollouts, strict=True
            )
        ]
        return padded(rows, output)

    def _report(self, rollouts: list[Rollout], credits: list[Credit], output: dict[str, Any]) -> None:
        """Metrics over all ranks, the advantages that the loss will use, and the observer."""
        metrics = merge(gather_object([tally(credits)]))
        for name, value in metrics.items():
            self._metrics["train"][f"credit/{name}"].append(value)

        advantages = output["advantages"].unsqueeze(1) if output["advantages"].dim() == 1 else output["advantages"]
        mask_BT = output["completion_mask"] * output.get("tool_mask", 1)
        means_B = (advantages * mask_BT).sum(1) / mask_BT.sum(1).clamp(min=1)
        if self.args.per_token:
            used = gather_object(means_B.tolist())
            logged = self._logs["advantages"]
            for _ in used:
                logged.pop()
            logged.extend(used)

        if not self._observed:
            return
        everything = on_main(list(zip(rollouts, credits, strict=True)), self._group)
        if self._on_credit is not None and self.accelerator.is_main_process:
            rollouts, credits = [r for r, _ in everything], [c for _, c in everything]
            step, rewards = self.state.global_step, self.batch_rewards
            self._on_credit(CreditBatch(step, rollouts, rewards, credits, self.batch_first_rewards))
