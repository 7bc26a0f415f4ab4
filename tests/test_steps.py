"""Step advantages: what a completion gained from one calculation to the next, as its own group tells."""

import copy
from itertools import islice

import pytest
import torch
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from toy_models import TRAINER

import spancredit as sc
from spancredit.tasks.wordproblems import problems
from spancredit.training.steps import path_of, shared, state_values, step_advantages
from spancredit.training.trl import CreditGRPOConfig, CreditGRPOTrainer

GROUP = 4


@st.composite
def groups(draw):
    """Two groups of completions: advantages, paths, sizes."""
    advantages, paths, sizes = [], [], []
    for _ in range(2 * GROUP):
        cuts = sorted(draw(st.sets(st.integers(1, 12), max_size=4)))
        texts = draw(st.lists(st.sampled_from("ab"), min_size=len(cuts), max_size=len(cuts)))
        advantages.append(draw(st.floats(-2, 2)))
        paths.append(list(zip(cuts, texts, strict=True)))
        sizes.append(draw(st.integers(13, 15)))
    return advantages, paths, sizes


def test_by_hand():
    # One prompt. Two completions make the same first calculation: one is right (+1), one wrong (-1); of the others,
    # which begin differently, one is right.
    paths = [[(3, "1+1=2"), (6, "2+2=4")], [(3, "1+1=2"), (6, "2+2=5")], [(3, "1+1=3")], []]
    rows = step_advantages([1.0, -1.0, -0.5, 0.9], paths, [8, 8, 5, 2], GROUP)
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


@given(groups())
def test_the_changes_along_a_completion_add_up_to_what_it_is_above_its_group(given):
    advantages, paths, sizes = given
    values = state_values(advantages, paths, GROUP)
    rows = step_advantages(advantages, paths, sizes, GROUP)
    for b, (row_T, path) in enumerate(zip(rows, paths, strict=True)):
        starts = [0, *(end for end, _ in path)]
        assert sum(row_T[start] for start in starts) == pytest.approx(advantages[b] - values[(b // GROUP,)], abs=1e-5)


@given(groups(), st.permutations(range(GROUP)))
def test_the_order_of_a_group_changes_nothing_and_other_prompts_do_not_matter(given, order):
    advantages, paths, sizes = given
    rows = step_advantages(advantages, paths, sizes, GROUP)
    moved = [[values[i] for i in order] for values in (advantages, paths, sizes)]
    for row_T, i in zip(step_advantages(*moved, GROUP), order, strict=True):
        torch.testing.assert_close(row_T, rows[i])


def test_calculations_are_the_same_whatever_the_spaces(policy):
    _, tokenizer = policy
    texts = (" Ana has 2 + 3 = 5 eggs.\n#### 5", " Well, it is 2+3 = 5.\n#### 5")
    paths = [path_of(0, sc.Rollout([5], tokenizer(text)["input_ids"]), tokenizer, sc.CreditConfig()) for text in texts]
    assert [[text for _, text in path] for path in paths] == [["2+3=5"], ["2+3=5"]]
    assert path_of(0, sc.Rollout([5], tokenizer(" no answer here")["input_ids"]), tokenizer, sc.CreditConfig()) == []


def test_a_loss_that_takes_one_ratio_for_a_sequence_is_refused(tmp_path):
    settings = {"output_dir": str(tmp_path), "bf16": False, "use_cpu": True, "credit_mode": "uniform"}
    with pytest.raises(sc.TrainerError, match=r"cannot carry per-token advantages.*step_advantages"):
        CreditGRPOConfig(**settings, importance_sampling_level="sequence", step_advantages=True)


ROWS = Dataset.from_list([problem.row() for problem in islice(problems("train", 0, "easy"), 64)])


def alternating(completions, **_):
    return [float(i % 2) for i in range(len(completions))]


def batch_of(policy, tmp_path, **changes):
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
    trainer = CreditGRPOTrainer(
        copy.deepcopy(model), alternating, config, train_dataset=ROWS, processing_class=tokenizer
    )
    seen, original = [], trainer._generate_and_score_completions
    trainer._generate_and_score_completions = lambda inputs: seen.append(original(inputs)) or seen[-1]
    trainer.train()
    return seen[0], trainer.state.log_history[0], tokenizer


def test_the_loss_is_given_step_advantages_times_weights(policy, tmp_path):
    plain, _, tokenizer = batch_of(policy, tmp_path, credit_mode="uniform")
    steps, logged, _ = batch_of(policy, tmp_path, credit_mode="uniform", step_advantages=True)
    weighted, _, _ = batch_of(policy, tmp_path, credit_scorer="surprisal")
    both, _, _ = batch_of(policy, tmp_path, credit_scorer="surprisal", step_advantages=True)
    assert torch.equal(plain["completion_ids"], both["completion_ids"]), "the same seed samples the same"
    rollouts = [
        sc.Rollout([5], ids[mask.bool()].tolist())
        for ids, mask in zip(plain["completion_ids"], plain["completion_mask"], strict=True)
    ]
    paths = [path_of(0, rollout, tokenizer, sc.CreditConfig()) for rollout in rollouts]
    sizes = [len(rollout.completion_ids) for rollout in rollouts]
    expected = step_advantages(plain["advantages"].tolist(), paths, sizes, 4)
    for b, (row_T, size) in enumerate(zip(expected, sizes, strict=True)):
        torch.testing.assert_close(steps["advantages"][b, :size], row_T)
        weights_T = weighted["advantages"][b, :size] / plain["advantages"][b]
        torch.testing.assert_close(both["advantages"][b, :size], row_T * weights_T)
    assert any(len(set(row_T.tolist())) > 1 for row_T in expected), "some completion has steps that differ"
    assert logged["step_advantages/shared"] == shared(paths, 4)
