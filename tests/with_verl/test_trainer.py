"""The driver's part without Ray: what is refused at start, who the workers are, and what is written back."""

import re
import subprocess
import sys
from dataclasses import asdict
from types import SimpleNamespace

import pytest
import torch

pytest.importorskip("verl", reason="verl is not installed: make test-verl")

from omegaconf import OmegaConf
from runs_of_verl import on_cpu
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.utils import Role
from verl.trainer.ppo.v1 import PPOTrainerSync, get_trainer_cls
from verl.utils import tensordict_utils as tu

import spancredit as sc
from spancredit.errors import ConfigError, TrainerError
from spancredit.training.metrics import tally
from spancredit.training.verl import trainer as plugin
from spancredit.training.verl.doctor import composed
from spancredit.training.verl.settings import FIELDS, SENT, TALLY, WEIGHTS
from spancredit.training.verl.worker import CreditWorker

CREDIT = "+credit.mode=counterfactual"
UNIFORM = "+credit.mode=uniform"


def verl_config(*overrides):
    return OmegaConf.create(
        composed(
            [
                "trainer.v1.trainer_mode=spancredit",
                "trainer.n_gpus_per_node=2",
                "actor_rollout_ref.rollout.temperature=0.8",
                "algorithm.adv_estimator=grpo",
                *overrides,
            ]
        )
    )


def prepared(*overrides, processor=None):
    """A trainer up to the point where verl has its tokenizer and asks who the workers are."""
    trainer = plugin.CreditPPOTrainer(verl_config(*overrides))
    trainer.processor = processor
    trainer._init_resource_pool_mgr()
    return trainer


def test_the_mode_is_registered_and_the_base_sees_its_own_name():
    trainer = get_trainer_cls("spancredit")(verl_config(CREDIT, "+credit.boost=3"))
    assert isinstance(trainer, PPOTrainerSync)
    assert trainer.trainer_mode == "sync"
    assert trainer.credit == sc.CreditConfig(boost=3, temperature=0.8)


def test_the_actors_are_ours_where_something_is_measured_and_verls_where_not():
    def classes(trainer):
        return {role: worker.__ray_metadata__.modified_class for role, worker in trainer.role_worker_mapping.items()}

    stock = classes(prepared(UNIFORM))
    assert set(stock) == {Role.ActorRollout}
    assert not issubclass(stock[Role.ActorRollout], CreditWorker)
    assert issubclass(classes(prepared(CREDIT))[Role.ActorRollout], CreditWorker)
    with_reference = classes(prepared(CREDIT, "actor_rollout_ref.actor.use_kl_loss=True"))
    assert issubclass(with_reference[Role.ActorRolloutRef], CreditWorker)


@pytest.mark.parametrize(
    ("override", "error", "says"),
    [
        ("+credit.bost=2", ConfigError, "Did you mean 'boost'?"),
        ("+credit.intervention=attention", ConfigError, "intervention 'attention' needs the policy itself"),
        ("+credit.temperature=1.0", ConfigError, "is taken from actor_rollout_ref.rollout.temperature"),
        ("actor_rollout_ref.actor.policy_loss.loss_mode=geo_mean", TrainerError, "weights of mean 1 cancel out"),
        ("algorithm.use_kl_in_reward=True", TrainerError, "expected actor_rollout_ref.actor.use_kl_loss"),
        ("distillation.enabled=True", TrainerError, "expected no distillation"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_starts(override, error, says):
    with pytest.raises(error, match=re.escape(says)):
        plugin.CreditPPOTrainer(verl_config(CREDIT, override))


@pytest.mark.parametrize("override", ["trainer.v1.trainer_mode=sync", "trainer.use_v1=False"])
def test_verls_own_command_ends_at_once_where_it_would_forget_credit(override):
    command = [sys.executable, "-m", "verl.trainer.main_ppo", CREDIT, override]
    done = subprocess.run(command, env=on_cpu(), capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert f"spancredit: {override.partition('=')[0]} is" in done.stderr


def test_a_policy_that_reads_images_is_refused():
    with pytest.raises(TrainerError, match="the policy reads images"):
        prepared(CREDIT, processor=object())
    prepared(UNIFORM, processor=object())


class Queue:
    """TransferQueue's part in it, for one batch."""

    def __init__(self, advantages):
        self.data = {"advantages": advantages}

    def kv_batch_get(self, keys, partition_id, select_fields):
        assert partition_id == "train"
        return {name: self.data[name] for name in select_fields}

    def kv_batch_put(self, keys, partition_id, fields):
        self.data |= {name: fields[name] for name in fields.keys()}  # noqa: SIM118


def jagged(*rows):
    return torch.nested.as_nested_tensor([torch.tensor(row) for row in rows], layout=torch.jagged)


def trainer_over(monkeypatch, queue, weights, *overrides):
    """A trainer whose base computes nothing and whose workers answer with these weights; and what they were sent."""
    sent = []

    def compute_credit(meta):
        sent.append(meta)
        credits = [sc.Credit(row, reason=None if len(set(row.tolist())) > 1 else "no_loss_token") for row in weights]
        queue.data |= {WEIGHTS: torch.nested.as_nested_tensor(weights, layout=torch.jagged)}
        queue.data |= {TALLY: [tally([one]) for one in credits]}

    monkeypatch.setattr(plugin, "tq", queue)
    monkeypatch.setattr(PPOTrainerSync, "_compute_advantage", lambda self, batch, metrics: batch)
    trainer = plugin.CreditPPOTrainer(verl_config(CREDIT, *overrides))
    trainer.actor_rollout_wg = SimpleNamespace(compute_credit=compute_credit)
    trainer.timing_raw, trainer.global_steps = {}, 1
    return trainer, sent


BATCH = KVBatchMeta(keys=["a", "b", "pad"], tags=[{}, {}, {"is_padding": True}], partition_id="train")


def test_advantages_are_multiplied_row_by_row_and_padding_is_not_counted(monkeypatch):
    queue = Queue(jagged([1.0, 1.0, 1.0], [-2.0, -2.0], [0.0]))
    trainer, sent = trainer_over(
        monkeypatch, queue, [torch.tensor([2.0, 0.5, 0.5]), torch.tensor([0.5, 1.5]), torch.ones(1)]
    )
    metrics = {}
    assert trainer._compute_advantage(BATCH, metrics) is BATCH
    assert [row.tolist() for row in queue.data["advantages"].unbind()] == [[2.0, 0.5, 0.5], [-1.0, -3.0], [0.0]]
    (meta,) = sent
    assert (meta.keys, meta.partition_id, meta.fields) == (BATCH.keys, "train", FIELDS)
    assert sc.CreditConfig(**meta.extra_info[SENT]) == trainer.credit
    assert metrics["credit/scored"] == 1.0
    assert metrics["credit/unscored/no_loss_token"] == 0.0
    assert trainer.timing_raw["credit"] > 0


def test_while_the_critic_warms_up_nothing_is_scored(monkeypatch):
    queue = Queue(jagged([1.0]))
    trainer, sent = trainer_over(monkeypatch, queue, [torch.ones(1)], "trainer.critic_warmup=2")
    trainer._compute_advantage(BATCH, {})
    assert not sent


def test_settings_survive_the_way_to_the_workers():
    config = sc.CreditConfig(answer_pattern=r"=\s*(\d+)", seed=3)
    data = tu.get_tensordict({"x": torch.zeros(2)}, {SENT: asdict(config)})
    assert sc.CreditConfig(**tu.get(data, SENT)) == config
