"""A worker's part without Ray: verl's own engine on the CPU says what the policy says, however it packs its rows."""

import os
import socket
from types import SimpleNamespace

import pytest
import torch

pytest.importorskip("verl", reason="verl is not installed: make test-verl")

from omegaconf import OmegaConf
from runs_of_verl import FP32
from verl.trainer.ppo.padding_utils import construct_minimal_padding_template
from verl.utils import tensordict_utils as tu
from verl.utils.config import omega_conf_to_dataclass
from verl.workers.config import TrainingWorkerConfig
from verl.workers.engine_workers import TrainingWorker

import spancredit as sc
from spancredit.models import load_policy
from spancredit.training.verl.doctor import composed
from spancredit.training.verl.rows import logprobs_by, rollouts_of

TEMPERATURE = 1.3


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


@pytest.fixture(scope="module", params=[False, True], ids=["padded", "packed"])
def actor(request, policy_folder):
    """verl's training worker alone, on one rank."""
    os.environ["MASTER_PORT"] = free_port()
    tree = composed(
        [
            f"actor_rollout_ref.model.path={policy_folder}",
            f"actor_rollout_ref.model.use_remove_padding={request.param}",
            "actor_rollout_ref.model.enable_gradient_checkpointing=False",
            "+actor_rollout_ref.model.override_config.attn_implementation=eager",
            "actor_rollout_ref.actor.strategy=fsdp2",
            "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=4",
            "actor_rollout_ref.actor.fsdp_config.use_torch_compile=False",
            f"+actor_rollout_ref.actor.fsdp_config.mixed_precision={FP32}",
            "actor_rollout_ref.rollout.name=hf_cpu",
        ]
    )
    config = OmegaConf.create(tree).actor_rollout_ref
    own = omega_conf_to_dataclass(config.actor)
    worker = TrainingWorker(
        TrainingWorkerConfig(
            model_type="language_model",
            model_config=omega_conf_to_dataclass(config.model),
            engine_config=own.engine,
            optimizer_config=own.optim,
            checkpoint_config=own.checkpoint,
        )
    )
    worker.reset()
    yield worker
    torch.distributed.destroy_process_group()


def batched(actor, dynamic):
    actor.engine_config.use_dynamic_bsz = dynamic
    actor.engine_config.infer_max_token_len_per_gpu = 100
    actor.engine_config.infer_micro_batch_size_per_gpu = 4
    return actor


@pytest.mark.parametrize("dynamic", [False, True])
def test_the_engine_says_what_the_policy_says(actor, dynamic, policy_folder):
    lengths = torch.Generator().manual_seed(0)
    sequences = [torch.randint(2, 650, (size,), generator=lengths).tolist() for size in (30, 7, 55, 20, 41, 2)]
    found = logprobs_by(batched(actor, dynamic), TEMPERATURE, sequences)
    model, _ = load_policy(str(policy_folder), dtype="float32")
    for ids, got in zip(sequences, found, strict=True):
        with torch.no_grad():
            logps_LV = torch.log_softmax(model(torch.tensor([ids])).logits[0] / TEMPERATURE, dim=-1)
        expected = [0.0, *(float(logps_LV[i, token]) for i, token in enumerate(ids[1:]))]
        assert got == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("intervention", ["pad", "delete", "filler"])
def test_weights_by_the_engine_are_those_of_the_pipeline(actor, intervention, policy_folder):
    model, tokenizer = load_policy(str(policy_folder), dtype="float32")
    prompt = "Question: Tom has 3 eggs. Then Tom buys 4. How many eggs are there in the end?\nSolution:"
    texts = (
        " Adding these gives 3 + 4 = 7 eggs.\n#### 7",
        " Okay. 3 * 4 = 12 eggs.\n#### 12",
        " Who knows.",
    )
    rollouts = [sc.Rollout(tokenizer.encode(prompt), [*tokenizer.encode(one), 1], advantage=1.0) for one in texts]
    config = sc.CreditConfig(intervention=intervention, temperature=TEMPERATURE)
    expected = sc.assign_credit(model, tokenizer, rollouts, config)
    engine = batched(actor, dynamic=False)
    found = sc.weights_for(rollouts, lambda rows: logprobs_by(engine, TEMPERATURE, rows), tokenizer, config)
    assert [one.reason for one in found] == [None, None, "no_answer"]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.token_weights, other.token_weights, atol=1e-4, rtol=0)


class Engine:
    """What `logprobs_by` needs of a training worker; its log-probabilities are the row's number and the place."""

    def __init__(self, micro_batch, outputs=True):
        self.engine_config = SimpleNamespace(use_dynamic_bsz=False, infer_micro_batch_size_per_gpu=micro_batch)
        self.outputs, self.seen = outputs, []

    def infer_batch(self, data):
        self.seen.append(data)
        if not self.outputs:
            return None
        rows = [torch.arange(len(ids)) + 1000.0 * ids[0] for ids in data["input_ids"].unbind()]
        return {"log_probs": torch.nested.as_nested_tensor(rows, layout=torch.jagged)}


def test_rows_come_back_in_order_each_entry_at_its_own_token():
    sequences = [[7, 0, 0, 0], [8, 0], [9, 0, 0]]
    assert logprobs_by(Engine(1), 1.0, sequences) == [[0, 7000, 7001, 7002], [0, 8000], [0, 9000, 9001]]


def test_micro_batches_are_whole_and_positions_contiguous():
    engine = Engine(4)
    found = logprobs_by(engine, 0.5, [[7, 0, 0, 0], [8, 0], [9, 0, 0], [5, 5], [6, 6]])
    (data,) = engine.seen
    assert len(found) == 5
    assert len(data["input_ids"]) == 8
    assert [row.tolist() for row in data["position_ids"].unbind()] == [
        list(range(len(row))) for row in data["input_ids"].unbind()
    ]
    assert tu.get(data, "temperature") == 0.5
    assert tu.get(data, "calculate_entropy") is False
    assert tu.get(data, "compute_loss") is False


def test_a_rank_without_outputs_gives_zeros_of_the_right_size():
    assert logprobs_by(Engine(2, outputs=False), 1.0, [[1, 2, 3], [4]]) == [[0.0, 0.0, 0.0], [0.0]]


def jagged(rows, dtype):
    return torch.nested.as_nested_tensor([torch.tensor(row, dtype=dtype) for row in rows], layout=torch.jagged)


def batch(prompts, responses, masks, advantages):
    return tu.get_tensordict(
        {
            "prompts": jagged(prompts, torch.int64),
            "responses": jagged(responses, torch.int64),
            "response_mask": jagged(masks, torch.int64),
            "advantages": jagged(advantages, torch.float32),
        }
    )


def test_rollouts_keep_tool_tokens_out_of_the_loss_and_one_advantage_where_there_is_one():
    data = batch(
        prompts=[[1, 2], [3], [4], [5]],
        responses=[[10, 11, 12], [20, 21], [30], [40, 41]],
        masks=[[1, 0, 1], [1, 1], [0], [1, 1]],
        advantages=[[0.5, 0.0, 0.5], [0.5, -0.5], [0.0], [0.0, 0.0]],
    )
    assert rollouts_of(data) == [
        sc.Rollout([1, 2], [10, 11, 12], 0.5, [True, False, True]),
        sc.Rollout([3], [20, 21], None, [True, True]),
        sc.Rollout([4], [30], None, [False]),
        sc.Rollout([5], [40, 41], 0.0, [True, True]),
    ]


def test_the_rows_that_verl_fills_a_batch_up_with_are_never_scored(policy_folder):
    _, tokenizer = load_policy(str(policy_folder))
    sample, tag = construct_minimal_padding_template({"position_ids": torch.arange(4)}, {}, eos_token_id=1)
    columns = [[sample[name].tolist()] for name in ("prompts", "responses", "response_mask")]
    rollouts = rollouts_of(batch(*columns, [[0.0]]))

    def never(sequences):
        raise AssertionError(f"asked for {sequences}")

    (credit,) = sc.weights_for(rollouts, never, tokenizer, sc.CreditConfig())
    assert (credit.reason, credit.token_weights.tolist()) == ("no_loss_token", [1.0])
    assert tag["is_padding"] is True
