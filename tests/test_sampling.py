"""Dynamic sampling: what has no signal is replaced, what is left is trained on as the stock trainer would."""

import copy
import json
import re
from itertools import islice

import pytest
import torch
from datasets import Dataset, IterableDataset
from toy_models import TRAINER
from trl import GRPOConfig, GRPOTrainer

from spancredit.errors import TrainerError
from spancredit.tasks.wordproblems import problems
from spancredit.training.rows import join_rows, split_rows
from spancredit.training.sampling import DynamicSamplingConfig, DynamicSamplingTrainer
from spancredit.training.trl import CreditGRPOConfig, CreditGRPOTrainer

ROWS = Dataset.from_list([{**problem.row(), "number": i} for i, problem in enumerate(islice(problems("train", 0), 64))])
GROUP = 4


def settings(tmp_path, **changes):
    defaults = dict(
        output_dir=str(tmp_path),
        max_steps=2,
        per_device_train_batch_size=16,
        num_generations=GROUP,
        max_completion_length=24,
    )
    return TRAINER | defaults | changes


def some_differ(completions, number, **_):
    """The rewards of a group differ where the number of its problem is divisible by 3."""
    return [float(n % 3 == 0 and i % GROUP) for i, n in enumerate(number)]


def all_differ(completions, **_):
    return [float(i % GROUP) for i in range(len(completions))]


def none_differ(completions, **_):
    return [1.0] * len(completions)


def trainer_of(policy, tmp_path, reward, rounds=3, cls=DynamicSamplingTrainer, config=None, rows=ROWS, **changes):
    model, tokenizer = policy
    config = config or DynamicSamplingConfig(**settings(tmp_path, dynamic_sampling_rounds=rounds, **changes))
    return cls(copy.deepcopy(model), reward, config, train_dataset=rows, processing_class=tokenizer)


def recorded(trainer):
    """The batches that come out, and the prompts of every draw."""
    batches, draws = [], []
    outer, inner = trainer._generate_and_score_completions, trainer._generate

    def spy(inputs):
        batches.append(outer(inputs))
        return batches[-1]

    def draw(prompts):
        draws.append(list(prompts))
        return inner(prompts)

    trainer._generate_and_score_completions, trainer._generate = spy, draw
    return batches, draws


def logged(trainer):
    return [
        {key.removeprefix("dynamic_sampling/"): value for key, value in row.items() if key.startswith("dynamic_")}
        for row in trainer.state.log_history
        if "loss" in row
    ]


def same(a, b):
    return all(torch.equal(value, b.state_dict()[name]) for name, value in a.state_dict().items())


@pytest.mark.slow
def test_groups_without_a_signal_are_replaced_by_fresh_prompts(policy, tmp_path):
    trainer = trainer_of(policy, tmp_path, some_differ, rounds=8)
    batches, draws = recorded(trainer)
    trainer.train()
    for batch, counts in zip(batches, logged(trainer), strict=True):
        assert batch["advantages"].shape == (16,)
        assert (batch["advantages"].view(-1, GROUP) != 0).any(1).all()
        assert batch["num_items_in_batch"] == batch["completion_mask"].sum()
        assert counts["groups_filled_up"] == 0
        kept = counts["groups_drawn"] - counts["groups_without_signal"]
        assert kept - counts["groups_beyond_the_batch"] == 4
    assert sum(counts["rounds"] for counts in logged(trainer)) + 2 == len(draws)
    first = 1 + int(logged(trainer)[0]["rounds"])
    for step in (draws[:first], draws[first:]):
        prompts = [prompt for draw in step for prompt in draw[::GROUP]]
        assert len(set(prompts)) == len(prompts), "a step draws no prompt twice"


@pytest.mark.slow
def test_the_log_of_completions_and_the_metrics_are_those_of_the_batch_and_of_the_first_draw(policy, tmp_path):
    trainer = trainer_of(policy, tmp_path, some_differ, rounds=8, max_steps=1)
    batches, _ = recorded(trainer)
    trainer.train()
    (batch,) = batches
    logs = trainer._logs
    assert list(logs["advantages"]) == pytest.approx(batch["advantages"].tolist())
    texts = trainer.processing_class.batch_decode(batch["completion_ids"], skip_special_tokens=True)
    assert list(logs["completion"]) == texts
    prompts = trainer.processing_class.batch_decode(batch["prompt_ids"], skip_special_tokens=True)
    assert [re.sub(r"\s", "", text) for text in logs["prompt"]] == [re.sub(r"\s", "", text) for text in prompts]
    stock = GRPOTrainer(
        copy.deepcopy(policy[0]),
        some_differ,
        GRPOConfig(**settings(tmp_path, max_steps=1)),
        train_dataset=ROWS,
        processing_class=policy[1],
    )
    stock.train()
    ours, theirs = trainer.state.log_history[0], stock.state.log_history[0]
    for name in ("reward", "reward_std", "frac_reward_zero_std", "completions/mean_length"):
        assert ours[name] == theirs[name], name
    assert ours["num_tokens"] > theirs["num_tokens"]


@pytest.mark.slow
def test_where_every_group_has_a_signal_the_stock_trainers_parameters_come_out_bit_for_bit(policy, tmp_path):
    ours = trainer_of(policy, tmp_path, all_differ)
    ours.train()
    stock = trainer_of(policy, tmp_path, all_differ, cls=GRPOTrainer, config=GRPOConfig(**settings(tmp_path)))
    stock.train()
    assert same(ours.model, stock.model)
    assert [counts["rounds"] for counts in logged(ours)] == [0, 0]


def test_the_rounds_are_bounded_and_what_is_missing_is_filled_up(policy, tmp_path):
    trainer = trainer_of(policy, tmp_path, none_differ, rounds=2, max_steps=1)
    batches, draws = recorded(trainer)
    trainer.train()
    (counts,) = logged(trainer)
    assert counts == {
        "rounds": 2,
        "groups_drawn": 12,
        "groups_without_signal": 12,
        "groups_beyond_the_batch": 0,
        "groups_filled_up": 4,
        "share_with_advantage": 0,
    }
    assert len(draws) == 3
    assert batches[0]["advantages"].shape == (16,)


def test_a_dataset_without_fresh_prompts_ends_the_rounds(policy, tmp_path):
    trainer = trainer_of(policy, tmp_path, none_differ, rounds=5, max_steps=1, rows=ROWS.select(range(6)))
    _, draws = recorded(trainer)
    trainer.train()
    (counts,) = logged(trainer)
    assert [len(draw) // GROUP for draw in draws] == [4, 2]
    assert counts["rounds"] == 1


def test_a_group_that_the_loss_masks_has_no_signal(policy, tmp_path):
    trainer = trainer_of(
        policy, tmp_path, all_differ, rounds=1, max_steps=1, mask_truncated_completions=True, max_completion_length=2
    )
    trainer.train()
    (counts,) = logged(trainer)
    assert counts["groups_without_signal"] == 8


@pytest.mark.slow
def test_a_resumed_run_draws_the_same_and_ends_with_the_same_parameters(policy, tmp_path):
    saved = dict(max_steps=4, save_strategy="steps", save_steps=2, save_total_limit=3)
    whole = trainer_of(policy, tmp_path / "whole", some_differ, **saved)
    whole.train()
    cut = trainer_of(policy, tmp_path / "whole", some_differ, **saved)
    _, draws = recorded(cut)
    cut.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-2"))
    assert len(draws) >= 2
    assert same(whole.model, cut.model)
    assert logged(whole)[2:] == logged(cut)[-2:]


@pytest.mark.slow
def test_credit_is_measured_once_on_the_batch_that_is_trained_on(policy, tmp_path):
    config = CreditGRPOConfig(**settings(tmp_path, dynamic_sampling_rounds=8, max_steps=1))
    seen = []
    model, tokenizer = policy
    trainer = CreditGRPOTrainer(
        copy.deepcopy(model),
        some_differ,
        config,
        train_dataset=ROWS,
        processing_class=tokenizer,
        on_credit=seen.append,
    )
    batches, _ = recorded(trainer)
    trainer.train()
    (batch,), (credit,) = batches, seen
    assert batch["advantages"].shape == batch["completion_ids"].shape
    assert len(credit.credits) == 16
    assert {len(set(credit.rewards[i : i + GROUP])) for i in range(0, 16, GROUP)} == {GROUP}


@pytest.mark.parametrize(
    "changes",
    [
        {"scale_rewards": "batch"},
        {"multi_objective_aggregation": "normalize_then_sum"},
        {"dynamic_sampling_rounds": -1},
    ],
)
def test_what_cannot_be_sampled_dynamically_is_refused(tmp_path, changes):
    with pytest.raises(TrainerError, match=next(iter(changes))):
        DynamicSamplingConfig(**settings(tmp_path, **{"dynamic_sampling_rounds": 1, **changes}))


def test_a_stream_and_a_foreign_config_are_refused(policy, tmp_path):
    stream = IterableDataset.from_generator(lambda: iter(ROWS))
    with pytest.raises(TrainerError, match="stream"):
        trainer_of(policy, tmp_path, all_differ, rows=stream)
    with pytest.raises(TrainerError, match="DynamicSamplingConfig"):
        trainer_of(policy, tmp_path, all_differ, config=GRPOConfig(**settings(tmp_path)))


def test_rows_come_back_as_the_batch_they_were():
    batch = {
        "prompt_ids": torch.tensor([[0, 5, 6], [7, 8, 9]]),
        "prompt_mask": torch.tensor([[0, 1, 1], [1, 1, 1]]),
        "completion_ids": torch.tensor([[3, 4, 0, 0], [5, 6, 7, 8]]),
        "completion_mask": torch.tensor([[1, 1, 0, 0], [0, 0, 0, 0]]),
        "advantages": torch.tensor([0.5, -0.5]),
        "old_per_token_logps": torch.tensor([[-1.0, -2.0, 0.0, 0.0], [-1.0, -1.0, -1.0, -1.0]]),
        "importance_sampling_ratio": torch.tensor([[1.0], [0.9]]),
        "num_items_in_batch": torch.tensor(2),
    }
    rows = split_rows(batch)
    assert [len(row["completion_ids"]) for row in rows] == [2, 4]
    again = join_rows(rows, 0, None, torch.device("cpu"))
    assert again.keys() == batch.keys() - {"num_items_in_batch"}
    for name, values in again.items():
        assert torch.equal(values, batch[name]), name
    wider = join_rows(rows[:1], 0, 4, torch.device("cpu"))
    assert wider["completion_ids"].tolist() == [[3, 4, 0, 0]]
    assert wider["prompt_ids"].tolist() == [[0, 0, 5, 6]]
    json.dumps(wider["advantages"].tolist())


def test_reward_functions_of_one_name_count_both(policy, tmp_path):
    first, second = (lambda completions, **_: [float(i % GROUP) for i in range(len(completions))]), none_differ
    second_too = lambda completions, **_: second(completions)  # noqa: E731
    trainer = trainer_of(policy, tmp_path, [first, second_too], max_steps=1)
    trainer.train()
    (counts,) = logged(trainer)
    assert (counts["rounds"], counts["groups_without_signal"]) == (0, 0)
    assert trainer.batch_rewards == [float(i % GROUP) + 1 for i in range(16)]


@pytest.mark.slow
def test_a_kl_term_stays_finite_where_rows_were_joined(policy, tmp_path):
    """At a low temperature the policy gives its padding far less than float32 can be divided by."""
    trainer = trainer_of(
        policy, tmp_path, some_differ, rounds=8, max_steps=2, beta=0.1, temperature=0.1, max_completion_length=60
    )
    trainer.train()
    assert all(torch.isfinite(torch.tensor(row["kl"])) for row in trainer.state.log_history if "kl" in row)
    assert all(parameter.isfinite().all() for parameter in trainer.model.parameters())
