"""Several processes: the same credit and the same training as one, whatever a rank has to score, and no deadlock."""

import json
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from launching import needs_deepspeed
from processes import run_ranks

import spancredit as sc
from spancredit.counterfactual import sharded
from spancredit.counterfactual.balance import TOLERATED, moves_for, shared_out

FSDP2 = {
    "ACCELERATE_TORCH_DEVICE": "cpu",
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_TRANSFORMER_CLS_TO_WRAP": "LlamaDecoderLayer",
    "FSDP_RESHARD_AFTER_FORWARD": "true",
    "FSDP_STATE_DICT_TYPE": "SHARDED_STATE_DICT",
}
ZERO3 = {
    "ACCELERATE_TORCH_DEVICE": "cpu",
    "ACCELERATE_USE_DEEPSPEED": "true",
    "ACCELERATE_DEEPSPEED_ZERO_STAGE": "3",
    "ACCELERATE_CONFIG_DS_FIELDS": "",
}
LOADS = st.lists(st.lists(st.integers(0, 10_000), max_size=12), min_size=1, max_size=9)


@given(LOADS)
def test_moves_lower_the_largest_load_and_nobody_gives_and_takes(loads):
    moves = moves_for(loads)
    assert len({(move.giver, move.job) for move in moves}) == len(moves)
    assert not {move.giver for move in moves} & {move.taker for move in moves}
    after = [sum(prices) for prices in loads]
    for move in moves:
        after[move.giver] -= loads[move.giver][move.job]
        after[move.taker] += loads[move.giver][move.job]
    assert max(after) <= max(sum(prices) for prices in loads)
    assert sum(after) == sum(map(sum, loads))


@given(st.integers(2, 9), st.integers(1, 30))
def test_one_rank_that_has_everything_shares_it_out_evenly(ranks, jobs):
    loads = [[100.0] * jobs * ranks, *([[]] * (ranks - 1))]
    after = [100.0 * jobs * ranks, *([0.0] * (ranks - 1))]
    for move in moves_for(loads):
        after[0] -= 100
        after[move.taker] += 100
    assert max(after) - min(after) <= max(100, TOLERATED * 100 * jobs)


def test_without_a_group_nothing_is_shared():
    assert shared_out(lambda jobs, share: [job + share for job in jobs], [1, 2, 3], [1, 1, 1], None) == [2, 3, 4]


def test_a_sharded_policy_without_a_group_is_refused(policy, monkeypatch):
    model, tokenizer = policy
    monkeypatch.setattr(sharded, "is_sharded", lambda model: True)
    monkeypatch.setattr(sharded.dist, "get_world_size", lambda *_: 2)
    rollout = sc.Rollout(tokenizer("Question:").input_ids, tokenizer(" 1 + 1 = 2.\n#### 2").input_ids)
    with pytest.raises(sc.ModelError, match="weights are sharded and group is None"):
        sc.assign_credit(model, tokenizer, [rollout])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "families"),
    [
        ("float32", ("llama", "gemma2", "gpt2", "qwen3_moe", "mamba")),
        ("float64", ("llama", "gemma3", "gpt_neo", "lfm2")),
    ],
)
def test_shards_give_the_credit_of_whole_weights_though_one_rank_has_nothing_to_score(dtype, families):
    run_ranks("scoring_on_ranks.py", dtype, *families)


@pytest.mark.slow
def test_what_cannot_be_scored_together_is_refused_on_every_rank_and_odd_shards_are_scored():
    run_ranks("refusals_on_ranks.py")


@pytest.mark.slow
def test_shards_sample_completions_that_end_at_different_lengths(tmp_path, monkeypatch):
    for key, value in FSDP2.items():
        monkeypatch.setenv(key, value)
    run_ranks("training_on_ranks.py", tmp_path, 2, "sampled")
    log = torch.load(tmp_path / "result.pt")["log"]
    assert all(row["completions/min_length"] < row["completions/max_length"] for row in log)


def trained(folder, count, environment, monkeypatch):
    folder.mkdir()
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    run_ranks("training_on_ranks.py", folder, 3, count=count, seconds=420)
    return torch.load(folder / "result.pt")


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """What one process makes of it."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        return trained(tmp_path_factory.mktemp("ranks") / "one", 1, {}, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "environment", "tolerance"),  # parameters, and times 100 weights: DeepSpeed trains in float32
    [
        pytest.param(2, {}, 1e-7, id="ddp"),
        pytest.param(2, FSDP2, 1e-7, id="fsdp2"),
        pytest.param(1, FSDP2, 1e-7, id="fsdp2 alone"),
        pytest.param(2, ZERO3, 2e-5, id="zero3", marks=needs_deepspeed),
    ],
)
def test_two_processes_train_as_one_does_though_one_has_nothing_to_score(
    one, count, environment, tolerance, tmp_path, monkeypatch
):
    two = trained(tmp_path / "two", count, environment, monkeypatch)
    assert {reason for _, reason in one["weights"].values()} >= {None, "no_answer"}
    assert two["weights"].keys() == one["weights"].keys()
    for key, (weights_T, reason) in one["weights"].items():
        assert two["weights"][key][1] == reason
        torch.testing.assert_close(two["weights"][key][0], weights_T, atol=100 * tolerance, rtol=0)
    for key, value in one["parameters"].items():
        torch.testing.assert_close(two["parameters"][key], value, atol=tolerance, rtol=0)
    for mine, its in zip(one["log"], two["log"], strict=True):
        for metric in ("credit/scored", "credit/drop/calculation", "credit/weight_share/answer", "reward"):
            assert its[metric] == pytest.approx(mine[metric], abs=10 * tolerance), metric


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lengths", "exchange"])
def test_a_credit_func_gives_two_processes_what_it_gives_one(name, tmp_path):
    """Each is given its own rollouts, whole groups of them, with the rows that these answer."""
    if name == "exchange" and sys.platform != "linux":
        pytest.skip("the sandbox needs Linux")
    found, given = [], []
    for count in (1, 2):
        folder = tmp_path / str(count)
        folder.mkdir()
        run_ranks("functions_on_ranks.py", folder, name, count=count)
        found.append(torch.load(folder / "result.pt"))
        given.append([json.loads((folder / f"given-{rank}.json").read_text()) for rank in range(count)])
    one, two = found
    (all_of_them,), halves = given
    assert [len(half) for half in halves] == [8, 8]
    assert sorted(map(tuple, [*halves[0], *halves[1]])) == sorted(map(tuple, all_of_them))
    assert two["credits"].keys() == one["credits"].keys()
    assert {method for _, method in one["credits"].values()} == {"given" if name == "lengths" else "exchange"}
    for key, (weights_T, method) in one["credits"].items():
        assert two["credits"][key][1] == method
        torch.testing.assert_close(two["credits"][key][0], weights_T, atol=1e-6, rtol=0)
    assert any(weights_T.std() > 0.1 for weights_T, _ in one["credits"].values())
    for key, value in one["parameters"].items():
        torch.testing.assert_close(two["parameters"][key], value, atol=1e-7, rtol=0)
    for mine, its in zip(one["log"], two["log"], strict=True):
        for metric in (metric for metric in mine if metric.startswith(("credit/drop", "credit/weight", "credit/sc"))):
            assert its[metric] == pytest.approx(mine[metric], abs=1e-6), metric
