"""A trial: the job's own trainer for two steps at learning rate 0, so that all rollouts are the policy's as it is.

The first step warms up (kernels, self-checks); the second is timed. Rollouts, rewards, advantages and credit are
those that training would have had.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerBase, PrinterCallback, TrainerCallback

from spancredit.bench.timing import Peak
from spancredit.config import CreditConfig
from spancredit.counterfactual.scorers import compute_dtype
from spancredit.credit import assign_credit
from spancredit.doctor.spending import Cost
from spancredit.tasks.task import Task
from spancredit.training.trl import CreditBatch, CreditGRPOConfig, CreditGRPOTrainer
from spancredit.types import Credit, Rollout

STEPS = 2
STATUS = "code/"  # of the reward's metrics


@dataclass(frozen=True)
class Job:
    """What is to be tried.

    Args:
        name, task_name: Of model and task.
        rewards: Reward functions in TRL's form.
        rows: The training set.
        asked: The settings of the training.
        trial: Those of the trial.
        outcome: What a span's absence is measured on, of `tasks.settings.OUTCOMES`.
        functions: What the trainer is given for it.
    """

    name: str
    task_name: str
    model: Any
    tokenizer: PreTrainedTokenizerBase
    task: Task
    rewards: list[Callable[..., list[float]]]
    rows: list[dict[str, Any]]
    asked: CreditGRPOConfig
    trial: CreditGRPOConfig
    outcome: str = "answer"
    functions: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    had_pad: bool = True  # before a trainer gives the tokenizer one
    peft_config: Any = None


@dataclass(frozen=True)
class Trial:
    """What the trainer did.

    Args:
        batches: One a step.
        cost: Of the last step.
        training_peak: Bytes of its loss, backward and update.
        statuses: Shares of its completions by how they fared, where the task's reward says.
    """

    trainer: CreditGRPOTrainer
    batches: Sequence[CreditBatch]
    cost: Cost
    training_peak: int | None
    statuses: Mapping[str, float]

    @property
    def rollouts(self) -> list[Rollout]:
        return [rollout for batch in self.batches for rollout in batch.rollouts]

    def score(self, rollouts: Sequence[Rollout], config: CreditConfig, allowance: float | None = None) -> list[Credit]:
        """Credit as the trainer would make it, under its autocast."""
        trainer = self.trainer
        with trainer.accelerator.autocast():
            return assign_credit(trainer.model, trainer.processing_class, rollouts, config, allowance=allowance)

    @property
    def dtype(self) -> torch.dtype:
        """That scoring computes in."""
        with self.trainer.accelerator.autocast():
            return compute_dtype(self.trainer.model)


def tried(job: Job) -> Trial:
    """Run the trial.

    Raises:
        TrainerError: if the trainer refuses the settings or the rewards.
        ModelError: if the policy cannot be scored, or the self-check finds scoring wrong.
    """
    watch = _Watch(job.trial.device.type)
    trainer = CreditGRPOTrainer(
        job.model,
        job.rewards,
        job.trial,
        train_dataset=Dataset.from_list(job.rows),
        processing_class=job.tokenizer,
        peft_config=job.peft_config,
        callbacks=[watch],
        on_credit=watch.scored,
        **job.functions,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    log = [row for row in trainer.state.log_history if "step_time" in row][-1]
    cost = _cost(log, watch.batches[-1], job.asked.num_iterations)
    statuses = {name.removeprefix(STATUS): value for name, value in log.items() if name.startswith(STATUS) and value}
    return Trial(trainer, watch.batches, cost, watch.peaks[-1], statuses)


class _Watch(TrainerCallback):
    """Keeps the batches, and the peak of memory from a scoring to the end of its step."""

    def __init__(self, device: str):
        self.device = device
        self.batches: list[CreditBatch] = []
        self.peaks: list[int | None] = []

    def scored(self, batch: CreditBatch) -> None:
        self.batches.append(batch)
        self._peak = Peak(self.device)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.peaks.append(self._peak.bytes())


def _cost(log: dict[str, float], batch: CreditBatch, iterations: int) -> Cost:
    generation, credit, other = (log[f"{phase}/seconds"] for phase in ("generation", "credit", "step_advantages"))
    costs = [one.cost for one in batch.credits]
    return Cost(
        generation=generation,
        credit=credit,
        training=log["step_time"] - generation - credit - other,
        other=other,
        iterations=iterations,
        completions=len(batch.rollouts),
        scored=sum(bool(one.spans) for one in batch.credits),
        tokens=sum(one.tokens for one in costs),
        forwards=sum(one.forwards for one in costs),
        fallbacks=sum(one.fallbacks for one in costs),
        runs=sum(one.runs for one in costs),
    )
