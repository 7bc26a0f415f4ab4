"""Step advantages: what a completion gained from one calculation to the next, as its own group tells."""

import copy
import math
from itertools import islice

import pytest
import torch
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from toy_models import TRAINER

import spancredit as sc
from spancredit.tasks.wordproblems import problems
from spancredit.training.resample import _line
from spancredit.training.steps import group_values, shared, step_advantages, steps_of
from spancredit.training.trl import CreditGRPOConfig, CreditGRPOTrainer

GROUP = 4


@st.composite
def groups(draw):
    """Two groups of completions: advantages, paths, sizes."""
    advantages, paths, sizes = [], [], []
    for _ in range(2 * GROUP):
        cuts = sorted(draw(st.sets(st.integers(1, 12), max_size=4)))
        texts = draw(st.lists(st.sampled_from("ab"), min_size=len(cuts), max_size=len(cuts)))
        advantages.append(draw(st.floats(-2, 2).filter(bool)))
        paths.append(list(zip(cuts, texts, strict=True)))
        sizes.append(draw(st.integers(max([1, *cuts]), 15)))
    return advantages, paths, sizes


def rows_of(advantages, paths, sizes):
    values = group_values(advantages, paths, [True] * len(paths), GROUP)
    return [step_advantages(*one) for one in zip(advantages, paths, values, sizes, strict=True)]


def test_by_hand():
    # One prompt. Two completions make the same first calculation: one is right (+1), one wrong (-1); of the others,
    # which begin differently, one is right.
    paths = [[(3, "1+1=2"), (6, "2+2=4")], [(3, "1+1=2"), (6, "2+2=5")], [(3, "1+1=3")], []]
    rows = rows_of([1.0, -1.0, -0.5, 0.9], paths, [8, 8, 5, 2])
    prompt = (1.0 - 1.0 - 0.5 + 0.9) / 4
    first = (1.0 - 1.0) / 2
    expected = [
        [first - prompt] * 3 + [1.0 - first] * 3 + [0.0] * 2,
        [first - prompt] * 3 + [-1.0 - first] * 3 + [0.0] * 2,
        [-0.5 - prompt] * 3 + [0.0] * 2,
        [0.9 - prompt] * 2,
    ]
    for row_T, values in zip(rows, expected, strict=True):
        torch.testing.assert_close(row_T, torch.tensor(values))
    assert shared(paths, GROUP) == 2 / 5


@pytest.mark.slow
@given(groups())
def test_the_changes_along_a_completion_add_up_to_what_it_is_above_its_group(given):
    advantages, paths, sizes = given
    values = group_values(advantages, paths, [True] * len(paths), GROUP)
    rows = rows_of(advantages, paths, sizes)
    for b, (row_T, path) in enumerate(zip(rows, paths, strict=True)):
        starts = [0, *(end for end, _ in path if end < len(row_T))]
        assert sum(row_T[start] for start in starts) == pytest.approx(advantages[b] - values[b][0], abs=1e-5)


@pytest.mark.slow
@given(groups(), st.permutations(range(GROUP)))
def test_the_order_of_a_group_changes_nothing_and_other_prompts_do_not_matter(given, order):
    advantages, paths, sizes = given
    rows = rows_of(advantages, paths, sizes)
    moved = [[values[i] for i in order] for values in (advantages, paths, sizes)]
    for row_T, i in zip(rows_of(*moved), order, strict=True):
        torch.testing.assert_close(row_T, rows[i])


def test_a_completion_that_ends_with_its_calculation_gets_all_of_its_advantage():
    assert step_advantages(1.0, [(3, "1+1=2")], [0.0, 0.5], 3).tolist() == [1.0] * 3
    assert step_advantages(1.0, [(1, "1+1=2"), (3, "2+2=4")], [0.0, 0.25, 0.5], 3).tolist() == [0.25, 0.75, 0.75]


def test_calculations_are_the_same_whatever_the_spaces(policy):
    _, tokenizer = policy
    texts = (" Ana has 2 + 3 = 5 eggs.\n#### 5", " Well, it is 2+3 = 5.\n#### 5")
    paths = [steps_of(sc.Rollout([5], tokenizer(text)["input_ids"]), tokenizer) for text in texts]
    assert [[text for _, text in path] for path in paths] == [["2+3=5"], ["2+3=5"]]
    unfinished = sc.Rollout([5], tokenizer(" Ana has 2 + 3 = 5 eggs. Then 5 - 1 = 4")["input_ids"])
    assert [text for _, text in steps_of(unfinished, tokenizer)] == ["2+3=5", "5-1=4"], "with an answer or without"
    assert steps_of(sc.Rollout([5], []), tokenizer) == []


def test_a_loss_that_takes_one_ratio_for_a_sequence_is_refused(tmp_path):
    settings = {"output_dir": str(tmp_path), "bf16": False, "use_cpu": True, "credit_mode": "uniform"}
    with pytest.raises(sc.TrainerError, match=r"cannot carry per-token advantages.*step_advantages"):
        CreditGRPOConfig(**settings, importance_sampling_level="sequence", step_advantages="group")


ROWS = Dataset.from_list([problem.row() for problem in islice(problems("train", 0, "easy"), 64)])


def alternating(completions, **_):
    return [float(i % 2) for i in range(len(completions))]


def batch_of(policy, tmp_path, rewards=alternating, **changes):
    """What the loss is given of the first generation batch, and the metrics."""
    model, tokenizer = policy
    config = CreditGRPOConfig(
        **TRAINER,
        output_dir=str(tmp_path),
        max_steps=1,
        per_device_train_batch_size=8,
        num_generations=4,
        max_completion_length=48,
        **changes,
    )
    trainer = CreditGRPOTrainer(copy.deepcopy(model), rewards, config, train_dataset=ROWS, processing_class=tokenizer)
    seen, original = [], trainer._generate_and_score_completions
    trainer._generate_and_score_completions = lambda inputs: seen.append(original(inputs)) or seen[-1]
    trainer.train()
    return seen[0], trainer.state.log_history[0], tokenizer


@pytest.mark.slow
def test_the_loss_is_given_step_advantages_times_weights(policy, tmp_path):
    plain, _, tokenizer = batch_of(policy, tmp_path, credit_mode="uniform")
    steps, logged, _ = batch_of(policy, tmp_path, credit_mode="uniform", step_advantages="group")
    weighted, _, _ = batch_of(policy, tmp_path, credit_scorer="surprisal")
    both, _, _ = batch_of(policy, tmp_path, credit_scorer="surprisal", step_advantages="group")
    assert torch.equal(plain["completion_ids"], both["completion_ids"]), "the same seed samples the same"
    rollouts = [
        sc.Rollout([5], ids[mask.bool()].tolist())
        for ids, mask in zip(plain["completion_ids"], plain["completion_mask"], strict=True)
    ]
    paths = [steps_of(rollout, tokenizer) for rollout in rollouts]
    sizes = [len(rollout.completion_ids) for rollout in rollouts]
    advantages = plain["advantages"].tolist()
    values = group_values(advantages, paths, [True] * len(paths), 4)
    expected = [step_advantages(*one) for one in zip(advantages, paths, values, sizes, strict=True)]
    for b, (row_T, size) in enumerate(zip(expected, sizes, strict=True)):
        torch.testing.assert_close(steps["advantages"][b, :size], row_T)
        weights_T = weighted["advantages"][b, :size] / plain["advantages"][b]
        torch.testing.assert_close(both["advantages"][b, :size], row_T * weights_T)
    assert any(len(set(row_T.tolist())) > 1 for row_T in expected), "some completion has steps that differ"
    assert logged["step_advantages/shared"] == shared(paths, 4)


def snapshot(trainer):
    """Everything that TRL logs, or is about to."""
    nested = [trainer._metrics["train"], trainer._columns(), trainer._pending_metrics, trainer._pending_extra_logs]
    return [{name: list(values) for name, values in one.items()} for one in nested]


@pytest.mark.slow
def test_resampled_values_are_those_of_fresh_continuations_and_leave_no_trace(policy, tmp_path, monkeypatch):
    asked = []

    def values(trainer, inputs, rollouts, paths, count):
        asked.append((len(inputs), count))
        before = [torch.get_rng_state().tolist(), list(trainer.batch_rewards), snapshot(trainer)]
        found = original(trainer, inputs, rollouts, paths, count)
        assert [torch.get_rng_state().tolist(), list(trainer.batch_rewards), snapshot(trainer)] == before
        for path, some in zip(paths, found, strict=True):
            assert len(some) == 1 + len(path)
            assert all(value == pytest.approx(worth) for value in some[1:])
        return found

    # Every second completion of a batch is right; those of a continuation are all worth 1, which is the advantage of
    # the right ones.
    calls = []

    def rewards(completions, log_metric, **_):
        log_metric("seen", float(len(calls)))
        calls.append(len(completions))
        return [float(i % 2) for i in range(8)] if len(calls) == 1 else [1.0] * len(completions)

    worth = 0.5 / (torch.tensor([0.0, 1.0, 0.0, 1.0]).std().item() + 1e-4)
    original = CreditGRPOTrainer.resampled_values
    monkeypatch.setattr(CreditGRPOTrainer, "resampled_values", values)
    batch, logged, _ = batch_of(
        policy, tmp_path, rewards, credit_mode="uniform", step_advantages="resampled", step_resamples=3
    )
    assert asked == [(8, 3)]
    assert batch["advantages"].shape == batch["completion_ids"].shape
    assert logged["reward"] == 0.5
    assert len(calls) > 2, "continued in parts no larger than a batch"
    assert max(calls) <= 8
    assert logged["seen"] == 0.0, "what reward functions log is of the batch alone"


def test_the_line_from_rewards_to_advantages_is_the_groups_own():
    rewards, advantages = [0.0, 2.0, 1.0, math.nan, 5.0, 6.0, 5.0, 5.0], [-1.0, 1.0, 0.0, 0.0, -0.2, 0.6, -0.2, -0.2]
    assert _line(2, rewards, advantages, 4) == pytest.approx((1.0, -1.0))
    assert _line(7, rewards, advantages, 4) == pytest.approx((0.8, -4.2))
    rounded = [0.1, 0.1 + 1e-9, 0.1, 0.1]
    assert _line(0, rounded, [1e-4, -1e-4, 1e-4, 1e-4], 4) == (0.0, 0.0)


def test_who_was_not_rated_counts_for_no_value_and_who_has_no_advantage_is_not_pushed():
    paths = [[(2, "a")], [(2, "a")], [(2, "a")], [(2, "b")]]
    advantages = [1.0, 0.0, -0.5, 0.0]
    values = group_values(advantages, paths, [True, False, True, True], GROUP)
    assert values[0] == pytest.approx([0.5 / 3, 0.25])
    rows = [step_advantages(a, path, v, 4) for a, path, v in zip(advantages, paths, values, strict=True)]
    assert not rows[1].any()
    assert not rows[3].any()


def test_an_unfinished_completion_counts_for_the_states_on_its_way(policy):
    _, tokenizer = policy
    texts = [" Ana has 2 + 3 = 5 eggs.\n#### 5", " Ana has 2 + 3 = 5 eggs. Ana has", " 2 + 3 = 6", " 2 + 3 = 7"]
    paths = [steps_of(sc.Rollout([5], tokenizer(text)["input_ids"]), tokenizer) for text in texts]
    values = group_values([1.5, -0.5, -0.5, -0.5], paths, [True] * 4, GROUP)
    assert values[0][1] == values[1][1] == 0.5


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"step_advantages": "groups"}, "Did you mean 'group'"),
        ({"step_advantages": "resampled", "step_resamples": 0}, "expected at least 1"),
        ({"step_advantages": "resampled", "dynamic_sampling_rounds": 2}, "does not go with dynamic_sampling_rounds"),
        (
            {"step_advantages": "resampled", "multi_objective_aggregation": "normalize_then_sum"},
            "expects 'sum_then_normalize'",
        ),
    ],
)
def test_steps_that_cannot_be_made_are_refused(tmp_path, changes, words):
    with pytest.raises(sc.SpanCreditError, match=words):
        CreditGRPOConfig(output_dir=str(tmp_path), bf16=False, use_cpu=True, **changes)
