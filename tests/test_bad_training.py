"""Rewards and datasets that no one can train on: refused in one sentence, or without effect and counted."""

import copy
import math
from itertools import islice

import pytest
import torch
from datasets import Dataset
from input_for_tests import assert_one_sentence
from toy_models import TRAINER

import spancredit as sc
from spancredit.commands.train import train
from spancredit.errors import SandboxError
from spancredit.tasks.wordproblems import problems
from spancredit.training.sampling import DynamicSamplingConfig, DynamicSamplingTrainer
from spancredit.training.trl import CreditGRPOConfig, CreditGRPOTrainer

ROWS = Dataset.from_list([problem.row() for problem in islice(problems("train", 0, "easy"), 32)])
GROUP = 4


@pytest.fixture(params=["credit", pytest.param("dynamic sampling", marks=pytest.mark.slow)])
def trainer_of(request, policy, tmp_path):
    """Makes either trainer, of 4 prompts a batch."""

    def make(reward, rows=ROWS, **changes):
        config, trainer, own = {
            "credit": (CreditGRPOConfig, CreditGRPOTrainer, {}),
            "dynamic sampling": (DynamicSamplingConfig, DynamicSamplingTrainer, {"dynamic_sampling_rounds": 2}),
        }[request.param]
        settings = TRAINER | {
            "output_dir": str(tmp_path),
            "max_steps": 1,
            "per_device_train_batch_size": 4 * GROUP,
            "num_generations": GROUP,
            "max_completion_length": 8,
        }
        model, tokenizer = policy
        return trainer(
            copy.deepcopy(model),
            reward,
            config(**settings | own | changes),
            train_dataset=rows,
            processing_class=tokenizer,
        )

    return make


def ranks(completions):
    return [float(i % GROUP) for i in range(len(completions))]


def ranks_but(value, place=5):
    """A reward function that gives `value` to one completion."""

    def reward(completions, **_):
        return [value if i == place else rank for i, rank in enumerate(ranks(completions))]

    return reward


def divides(completions, **_):
    return [1 / 0 for _ in completions]


def is_short(completions, **_):
    return ranks(completions)[:3]


def is_one_number(completions, **_):
    return 1.0


async def waits_and_divides(completions, **_):
    return [1 / 0 for _ in completions]


def same(trainer, policy):
    start = policy[0].state_dict()
    return all(torch.equal(value, start[name]) for name, value in trainer.model.state_dict().items())


def logged(trainer):
    return [row for row in trainer.state.log_history if "loss" in row]


@pytest.mark.parametrize(
    ("reward", "said"),
    [
        (divides, r"'divides' raised ZeroDivisionError\('division by zero'\) at step 1, on 16 completions.*'Question"),
        (waits_and_divides, r"'waits_and_divides' raised ZeroDivisionError.* at step 1"),
        (is_short, r"'is_short' returned 3 rewards for 16 completions at step 1"),
        (is_one_number, r"'is_one_number' raised TypeError\(.*not iterable"),
        (ranks_but("0.5"), r"'reward' returned '0.5' for completion 5 of step 1, of the prompt 'Question"),
        (ranks_but([1.0, 2.0]), r"'reward' returned \[1.0, 2.0\] for completion 5 of step 1"),
        (ranks_but(math.inf), r"'reward' returned inf for completion 5 of step 1, of the prompt 'Question"),
        (ranks_but(-math.inf), r"'reward' returned -inf for completion 5 of step 1"),
        (ranks_but(1e300), r"'reward' returned inf for completion 5 of step 1"),
    ],
)
def test_a_reward_that_cannot_be_meant_is_refused_with_its_function_and_its_place(trainer_of, policy, reward, said):
    trainer = trainer_of(reward)
    with pytest.raises(sc.TrainerError, match=said) as caught:
        trainer.train()
    assert_one_sentence(str(caught.value))
    assert "expected a finite number for each completion, or None" in str(caught.value)
    assert same(trainer, policy)


def test_an_error_of_ours_is_said_as_it_is(trainer_of):
    sentence = "the sandbox cannot be had here: " + "a reason that is longer than a hundred and twenty characters, " * 3

    def reward(completions, **_):
        raise SandboxError(sentence)

    with pytest.raises(SandboxError) as caught:
        trainer_of(reward).train()
    assert str(caught.value) == sentence


def test_of_several_functions_the_one_that_fails_is_named(trainer_of):
    def sound(completions, **_):
        return ranks(completions)

    with pytest.raises(sc.TrainerError, match=r"'reward' returned inf for completion 5"):
        trainer_of([sound, ranks_but(math.inf)]).train()


def test_a_reward_that_fails_later_names_its_step_and_ends_the_run_there(trainer_of, policy):
    calls = []

    def second_time(completions, **_):
        calls.append(len(completions))
        return ranks_but(math.inf if len(calls) == 2 else 0.5)(completions)

    trainer = trainer_of(second_time, max_steps=3)
    with pytest.raises(sc.TrainerError, match="of step 2,") as caught:
        trainer.train()
    assert_one_sentence(str(caught.value))
    assert trainer.state.global_step == 1
    assert not same(trainer, policy)


@pytest.mark.parametrize("nothing", [math.nan, None])
def test_a_completion_that_no_function_rates_is_left_out_of_its_groups_baseline_and_counted(trainer_of, nothing):
    """As TRL has it: a run should not end because a judge had no opinion, but one must see how often."""
    trainer = trainer_of(ranks_but(nothing))
    trainer.train()
    advantages = torch.tensor(list(trainer._logs["advantages"])).view(-1, GROUP)
    rated = torch.tensor([0.0, 2.0, 3.0])
    assert advantages[1, 1] == 0
    torch.testing.assert_close(advantages[1, [0, 2, 3]], (rated - rated.mean()) / (rated.std() + 1e-4))
    assert advantages[[0, 2, 3], 1].ne(0).all(), "the other groups keep theirs"
    assert math.isnan(trainer.batch_rewards[5])
    (row,) = logged(trainer)
    assert row["frac_reward_none"] == 1 / 16
    assert all(value.isfinite().all() for value in trainer.model.state_dict().values())


def test_what_one_of_two_functions_rates_counts(trainer_of):
    trainer = trainer_of([ranks_but(None), ranks_but(0.5)])
    trainer.train()
    assert trainer.batch_rewards[:6] == [0.0, 2.0, 4.0, 6.0, 0.0, 0.5]
    assert logged(trainer)[0]["frac_reward_none"] == 0


@pytest.mark.slow
@pytest.mark.parametrize(("value", "none"), [(1.0, 0), (None, 1), (math.nan, 1)])
def test_rewards_that_never_differ_end_the_run_with_the_policy_as_it_was(trainer_of, policy, value, none):
    trainer = trainer_of(lambda completions, **_: [value] * len(completions), max_steps=3)
    trainer.train()
    assert trainer.state.global_step == 3
    assert same(trainer, policy)
    rows = logged(trainer)
    assert [row["frac_reward_none"] for row in rows] == [none] * 3
    assert [row["reward"] for row in rows] == [None if none else 1.0] * 3
    if isinstance(trainer, CreditGRPOTrainer):
        assert [(row["credit/unscored/zero_advantage"], row["credit/forwards"]) for row in rows] == [(1, 0)] * 3
    else:
        shares = [(row["dynamic_sampling/share_with_advantage"], row["dynamic_sampling/rounds"]) for row in rows]
        assert shares == [(0, 2)] * 3


@pytest.mark.parametrize("size", [0, 3])
@pytest.mark.parametrize("length", [{"max_steps": 2}, {"max_steps": -1, "num_train_epochs": 1}])
def test_a_dataset_smaller_than_a_batch_is_refused_instead_of_training_no_step(trainer_of, size, length):
    trainer = trainer_of(ranks_but(0.5), rows=ROWS.select(range(size)), **length)
    with pytest.raises(sc.TrainerError, match=f"the dataset has {size} prompts; expected at least 4") as caught:
        trainer.train()
    assert_one_sentence(str(caught.value))


def test_a_dataset_of_one_batch_is_enough(trainer_of):
    trainer = trainer_of(ranks_but(0.5), rows=ROWS.select(range(4)), max_steps=2)
    trainer.train()
    assert trainer.state.global_step == 2


def test_too_few_problems_are_refused_before_there_is_a_run_folder(tmp_path):
    few = ["--train_problems", "3", "--per_device_train_batch_size", "16", "--num_generations", "4"]
    with pytest.raises(sc.ConfigError, match="train_problems is 3; expected at least 4") as caught:
        train([*few, "--output_dir", str(tmp_path / "run")])
    assert_one_sentence(str(caught.value))
    assert not (tmp_path / "run").exists()
