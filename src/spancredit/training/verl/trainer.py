"""The trainer: verl's synchronous one, whose advantages are multiplied by token weights. verl loads it as a plugin."""

import sys
from dataclasses import asdict
from typing import Any

import ray
import torch
import transfer_queue as tq
from omegaconf import DictConfig, OmegaConf, open_dict
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.utils import Role
from verl.trainer.ppo.v1 import PPOTrainerSync, register_trainer
from verl.utils import tensordict_utils as tu
from verl.utils.debug import marked_timer

from spancredit.errors import TrainerError
from spancredit.training.metrics import merge
from spancredit.training.verl.settings import FIELDS, MODE, SENT, TALLY, WEIGHTS, credit_config, forgotten, obstacles

ACTORS = (Role.Actor, Role.ActorRollout, Role.ActorRolloutRef)
if (sentence := forgotten(sys.orig_argv)) is not None:
    raise SystemExit(f"spancredit: {sentence}")  # verl hides every other error of a plugin
for hook in ("_init_resource_pool_mgr", "_compute_advantage"):
    if not hasattr(PPOTrainerSync, hook):  # an override that nothing calls would train without credit
        raise ImportError(f"this verl's PPOTrainerSync has no {hook}; spancredit needs verl 0.9.")


@register_trainer(MODE)
class CreditPPOTrainer(PPOTrainerSync):
    """Chosen with `trainer.v1.trainer_mode=spancredit`; settings are under `credit`.

    Raises:
        ConfigError: at start, if a setting under `credit` is wrong.
        TrainerError: at start, if the configuration cannot carry per-token advantages, or the policy reads images.
    """

    def __init__(self, config: DictConfig) -> None:
        plain: Any = OmegaConf.to_container(config, resolve=True)
        self.credit = credit_config(plain)
        for sentence in obstacles(plain):
            raise TrainerError(sentence)
        with open_dict(config):
            config.trainer.v1.trainer_mode = "sync"  # the base tells modes apart by their names
        super().__init__(config)

    @property
    def _measures(self) -> bool:
        return bool(self.credit.mode != "uniform")

    def _init_resource_pool_mgr(self) -> None:
        super()._init_resource_pool_mgr()
        if not self._measures:
            return
        if self.processor is not None:
            raise TrainerError("the policy reads images; expected a text-only policy, since spans are scored from ids.")
        from spancredit.training.verl.worker import CreditWorker  # which may be what loads verl, and verl this module

        for role in set(ACTORS).intersection(self.role_worker_mapping):
            self.role_worker_mapping[role] = ray.remote(CreditWorker)

    def _compute_advantage(self, batch: KVBatchMeta, metrics: dict[str, Any]) -> KVBatchMeta:
        batch = super()._compute_advantage(batch, metrics)
        if self._measures and self.config.trainer.critic_warmup <= self.global_steps:
            with marked_timer("credit", self.timing_raw):
                metrics.update(self._weigh(batch))
        return batch

    def _weigh(self, batch: KVBatchMeta) -> dict[str, float]:
        """Multiply the batch's advantages by token weights, in place; the metrics."""
        self.actor_rollout_wg.compute_credit(
            KVBatchMeta(
                keys=batch.keys,
                tags=batch.tags,
                partition_id=batch.partition_id,
                fields=FIELDS,
                extra_info={SENT: asdict(self.credit)},
            )
        )
        where = {"keys": batch.keys, "partition_id": batch.partition_id}
        data = tq.kv_batch_get(**where, select_fields=["advantages", WEIGHTS, TALLY])
        rows = zip(data["advantages"].unbind(), data[WEIGHTS].unbind(), strict=True)
        weighted = torch.nested.as_nested_tensor([one_T * weights_T for one_T, weights_T in rows], layout=torch.jagged)
        tq.kv_batch_put(**where, fields=tu.get_tensordict({"advantages": weighted}))
        padding = [tag.get("is_padding", False) for tag in batch.tags]
        tallies = [one for one, is_padding in zip(list(data[TALLY]), padding, strict=True) if not is_padding]
        return {f"credit/{name}": value for name, value in merge(tallies).items()}
