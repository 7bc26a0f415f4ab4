"""What of verl the plugin stands on, against the pinned version: a failure says what moved."""

import inspect
from importlib.metadata import entry_points, version

import pytest
import torch

pytest.importorskip("verl", reason="verl is not installed: make test-verl")

import transfer_queue as tq
from omegaconf import OmegaConf
from transfer_queue import KVBatchMeta
from verl.single_controller.base.decorator import MAGIC_ATTR
from verl.trainer.ppo import core_algos
from verl.trainer.ppo.utils import Role
from verl.trainer.ppo.v1 import PPOTrainer, PPOTrainerSync, register_trainer
from verl.trainer.ppo.v1.trainer_base import TRAINER_REGISTRY
from verl.utils.config import omega_conf_to_dataclass
from verl.utils.transferqueue_utils import _compute_need_collect
from verl.workers.engine import BaseEngine
from verl.workers.engine_workers import ActorRolloutRefWorker, TrainingWorker

from spancredit.training.verl.doctor import GROUP, NAME, TESTED, composed
from spancredit.training.verl.settings import MODE
from spancredit.training.verl.worker import CreditWorker

REFUSED = {"geo_mean"}  # by settings.obstacles
# A rejection or a penalty falls on a few tokens; the others' advantages are their own. The third calls one of the rest.
NOT_OF_ALL_TOKENS = {"clip_cov", "kl_cov", "bypass_mode"}
AGGREGATIONS = ("token-mean", "token-sum", "seq-mean-token-sum", "seq-mean-token-sum-norm", "seq-mean-token-mean")


def parameters(function):
    return list(inspect.signature(function).parameters)


def test_the_version_is_the_one_that_was_tested():
    assert version("verl") == TESTED, "run these tests, then change doctor.TESTED, the extra and constraints-verl.txt"


def test_the_plugin_is_an_entry_point_that_verl_looks_for():
    (point,) = [one for one in entry_points(group=GROUP) if one.name == NAME]
    assert point.value == "spancredit.training.verl.trainer"
    import verl

    assert f'"{GROUP}"' in inspect.getsource(verl), f"verl no longer discovers entry points in group {GROUP}"


def test_trainer_modes_are_looked_up_by_name():
    assert parameters(register_trainer) == ["name"], "register_trainer's signature moved"
    assert MODE in TRAINER_REGISTRY
    assert {"sync", "colocate_async", "separate_async"} <= set(TRAINER_REGISTRY), "verl's own modes have other names"
    tree = composed([f"trainer.v1.trainer_mode={MODE}"])
    assert tree["trainer"]["use_v1"] is True, "the trainer with plugins is no longer verl's default"


@pytest.mark.parametrize(
    ("hook", "signature"),
    [
        ("_init_resource_pool_mgr", ["self"]),
        ("_compute_advantage", ["self", "batch", "metrics"]),
    ],
)
def test_the_trainers_hooks_are_there_and_called(hook, signature):
    assert parameters(getattr(PPOTrainer, hook)) == signature, f"PPOTrainer.{hook} has another signature"
    assert f"self.{hook}(" in inspect.getsource(PPOTrainer), f"PPOTrainer no longer calls {hook}"
    assert hook not in vars(PPOTrainerSync), f"PPOTrainerSync has a {hook} of its own now"


def test_advantages_are_computed_after_old_log_probs_and_before_the_update():
    source = inspect.getsource(PPOTrainer._step_once)
    order = ["_balance_batch(", "_compute_old_log_prob(", "_compute_advantage(", "_update_actor("]
    places = [source.find(name) for name in order]
    assert -1 not in places, f"a step of verl's no longer has all of {order}"
    assert places == sorted(places), "the order of verl's step changed"


@pytest.mark.parametrize("name", ["actor_rollout_wg", "processor", "global_steps", "timing_raw", "role_worker_mapping"])
def test_the_trainer_has_what_ours_reads(name):
    assert f"self.{name}" in inspect.getsource(PPOTrainer), f"PPOTrainer has no {name} any more"


def test_the_roles_of_actors_are_known():
    assert {"Actor", "ActorRollout", "ActorRolloutRef"} <= {role.name for role in Role}, "verl's roles have other names"


def test_our_method_is_dispatched_as_verls_log_probs_are():
    ours = getattr(CreditWorker.compute_credit, MAGIC_ATTR)
    theirs = getattr(ActorRolloutRefWorker.compute_log_prob, MAGIC_ATTR)
    assert {name: (part.func, part.args) for name, part in ours["dispatch_mode"].items()} == {
        name: (part.func, part.args) for name, part in theirs["dispatch_mode"].items()
    }, "compute_log_prob is dispatched in another way now"
    assert ours["blocking"] == theirs["blocking"]
    assert callable(_compute_need_collect)


def test_the_worker_and_its_engine_have_what_ours_calls():
    assert parameters(TrainingWorker.infer_batch) == ["self", "data"], "TrainingWorker.infer_batch moved"
    for name in ("get_data_parallel_group", "is_mp_src_rank_with_outputs"):
        assert parameters(getattr(BaseEngine, name)) == ["self"], f"BaseEngine.{name} moved"
    source = inspect.getsource(TrainingWorker)
    for name in ("self.engine_config", "self.model_config", "infer_micro_batch_size_per_gpu", "use_dynamic_bsz"):
        assert name in source, f"TrainingWorker no longer has {name}"


def test_the_queue_takes_and_gives_by_key():
    assert parameters(tq.kv_batch_get) == ["keys", "partition_id", "select_fields"], "tq.kv_batch_get moved"
    assert parameters(tq.kv_batch_put)[:3] == ["keys", "partition_id", "fields"], "tq.kv_batch_put moved"
    assert {"keys", "tags", "partition_id", "fields", "extra_info"} <= set(parameters(KVBatchMeta)), "KVBatchMeta moved"


@pytest.fixture(scope="module")
def actor_settings():
    tree = composed(
        [
            "actor_rollout_ref.actor.strategy=fsdp2",
            "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=1",
            "actor_rollout_ref.rollout.name=hf_cpu",
            "actor_rollout_ref.actor.policy_loss.dro_beta=0.1",
            "actor_rollout_ref.actor.policy_loss.kl_cov_ratio=0.2",
            "actor_rollout_ref.actor.policy_loss.clip_cov_ratio=0.2",
        ]
    )
    config = omega_conf_to_dataclass(OmegaConf.create(tree).actor_rollout_ref.actor)
    config.global_batch_info.update(dp_size=1, batch_num_tokens=8, global_batch_size=2, loss_scale_factor=None)
    return config


def gradient(loss, weights_BT, config, mode):
    """Of a loss in the tokens' log-probabilities, on policy, where each completion's advantage is weighted."""
    torch.manual_seed(0)
    logps_BT = (-torch.rand(2, 4)).requires_grad_()
    value, _ = core_algos.get_policy_loss_fn(loss)(
        old_log_prob=logps_BT.detach(),
        log_prob=logps_BT,
        advantages=torch.tensor([[1.0], [-1.0]]) * weights_BT,
        response_mask=torch.ones(2, 4),
        loss_agg_mode=mode,
        config=config,
        rollout_is_weights=None,
    )
    (found_BT,) = torch.autograd.grad(value, logps_BT)
    return found_BT


@pytest.mark.parametrize("mode", AGGREGATIONS)
@pytest.mark.parametrize("loss", sorted(set(core_algos.POLICY_LOSS_REGISTRY) - NOT_OF_ALL_TOKENS))
def test_a_loss_carries_a_tokens_own_advantage_unless_it_is_refused(loss, mode, actor_settings):
    """The gradient of a token follows its own weight; where a sequence's advantages are averaged, it does not."""
    weights_BT = torch.tensor([[2.0, 1.0, 0.5, 0.5], [0.5, 0.5, 1.0, 2.0]])
    even_BT, uneven_BT = (gradient(loss, one, actor_settings, mode) for one in (torch.ones(2, 4), weights_BT))
    if loss in REFUSED:
        torch.testing.assert_close(uneven_BT, even_BT)
    else:
        torch.testing.assert_close(uneven_BT / even_BT, weights_BT)
