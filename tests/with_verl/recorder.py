"""Writes down what passes through a run of verl, at verl's own functions; loaded by verl beside `verl_on_cpu`.

`stock-STEP.pt`: the batch with verl's advantages. `final-STEP.pt`: advantages before the actor's update, and weights.
`loss-PID-NUMBER.pt`: the rows, with their advantages, that one call of the loss gets.
"""

import itertools
import os
from pathlib import Path
from typing import Any

import torch
import transfer_queue as tq
from verl.trainer.ppo.v1.trainer_base import PPOTrainer
from verl.workers import engine_workers

FOLDER = Path(os.environ["SPANCREDIT_TEST_RECORDS"])
NUMBERS = itertools.count()


def _read(batch: Any, names: list[str]) -> dict[str, list[list[float]]]:
    data = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=names)
    return {name: [row.tolist() for row in data[name].unbind()] for name in names} | {"key": list(batch.keys)}


def _record() -> None:
    compute_advantage, update_actor, ppo_loss = (
        PPOTrainer._compute_advantage,
        PPOTrainer._update_actor,
        engine_workers.ppo_loss,
    )

    def recorded_advantage(self: PPOTrainer, batch: Any, metrics: dict[str, Any]) -> Any:
        batch = compute_advantage(self, batch, metrics)
        names = ["prompts", "responses", "response_mask", "advantages"]
        torch.save(_read(batch, names), FOLDER / f"stock-{self.global_steps}.pt")
        return batch

    def recorded_update(self: PPOTrainer, batch: Any, metrics: dict[str, Any]) -> Any:
        weighed = self.config.credit.mode != "uniform"
        torch.save(
            _read(batch, ["advantages", "credit_weights"] if weighed else ["advantages"]),
            FOLDER / f"final-{self.global_steps}.pt",
        )
        return update_actor(self, batch, metrics)

    def recorded_loss(config: Any, model_output: Any, data: Any, dp_group: Any = None) -> Any:
        rows = {name: [row.tolist() for row in data[name].unbind()] for name in ("prompts", "responses", "advantages")}
        torch.save(rows, FOLDER / f"loss-{os.getpid()}-{next(NUMBERS)}.pt")
        return ppo_loss(config, model_output, data, dp_group)

    PPOTrainer._compute_advantage, PPOTrainer._update_actor = recorded_advantage, recorded_update
    engine_workers.ppo_loss = recorded_loss


_record()
