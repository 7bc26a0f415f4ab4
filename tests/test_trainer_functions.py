"""Functions of a trainer's user: each rollout comes with the row that it answers, and what they return is checked."""

import copy
from dataclasses import replace
from itertools import islice

import pytest
import torch
from datasets import Dataset
from toy_models import TRAINER

import spancredit as sc
from spancredit.errors import TrainerError
from spancredit.tasks.wordproblems import problems
from spancredit.training.trl import CreditGRPOConfig, CreditGRPOTrainer

ROWS = Dataset.from_list([{**problem.row(), "number": i} for i, problem in enumerate(islice(problems("train", 0), 64))])
GROUP = 4


def some_differ(completions, number, **_):
    return [float(n % 3 == 0 and i % GROUP) for i, n in enumerate(number)]


def trainer_of(policy, tmp_path, functions, rewards=some_differ, **changes):
    model, tokenizer = policy
    defaults = dict(
        output_dir=str(tmp_path),
        max_steps=2,
        per_device_train_batch_size=16,
        num_generations=GROUP,
        max_completion_length=24,
    )
    config = CreditGRPOConfig(**TRAINER | defaults | changes)
    return CreditGRPOTrainer(
        copy.deepcopy(model), rewards, config, train_dataset=ROWS, processing_class=tokenizer, **functions
    )


def halves(rollouts, rows, config):
    """The first half of every completion is worth all."""
    spans = [[(0, len(r.completion_ids) // 2), (len(r.completion_ids) // 2, len(r.completion_ids))] for r in rollouts]
    return sc.credit_from_drops(rollouts, spans, [[1.0, 0.0]] * len(rollouts), config)


@pytest.mark.parametrize("rounds", [0, pytest.param(8, marks=pytest.mark.slow)])
def test_every_rollout_comes_with_the_row_that_it_answers(policy, tmp_path, rounds):
    tokenizer, seen = policy[1], []

    def noting(rollouts, rows, config):
        seen.extend(zip(rollouts, rows, strict=True))
        return halves(rollouts, rows, config)

    batches = []
    functions = {"credit_func": noting, "on_credit": batches.append}
    trainer_of(policy, tmp_path, functions, dynamic_sampling_rounds=rounds).train()
    assert len(seen) == 32
    for rollout, row in seen:
        assert tokenizer.decode(rollout.prompt_ids) == row["prompt"]
    if rounds:
        assert {row["number"] % 3 for _, row in seen} == {0}, "the rows of the first draw are not those of the batch"
    for batch in batches:
        assert {credit.method for credit in batch.credits} <= {None, "given"}
        scored = [credit.token_weights for credit in batch.credits if credit.reason is None]
        assert all(weights_T[0] > weights_T[-1] for weights_T in scored)
        assert scored or not rounds


@pytest.mark.slow
@pytest.mark.parametrize("rounds", [0, pytest.param(8, marks=pytest.mark.slow)])
def test_an_observer_is_told_the_first_reward_apart_from_the_sum(policy, tmp_path, rounds):
    def quarter(completions, **_):
        return [0.25] * len(completions)

    batches = []
    trainer = trainer_of(
        policy, tmp_path, {"on_credit": batches.append}, [some_differ, quarter], dynamic_sampling_rounds=rounds
    )
    trainer.train()
    rollouts = [rollout for batch in batches for rollout in batch.rollouts]
    first = [value for batch in batches for value in batch.first_rewards]
    assert len(first) == len(rollouts) == 32
    assert set(first) == {0.0, 1.0, 2.0, 3.0}
    assert [value for batch in batches for value in batch.rewards] == [value + 0.25 for value in first]
    for i in range(0, 32, GROUP):  # they are those of the rollouts beside them
        by_reward, by_advantage = (
            sorted(range(i, i + GROUP), key=key) for key in (first.__getitem__, lambda j: rollouts[j].advantage)
        )
        assert by_reward == by_advantage


def test_the_loss_is_weighted_by_what_a_credit_func_returns(policy, tmp_path):
    trainer = trainer_of(policy, tmp_path, {"credit_func": halves}, max_steps=1, dynamic_sampling_rounds=8)
    batches, outer = [], trainer._generate_and_score_completions

    def noted(inputs):
        batches.append(outer(inputs))
        return batches[-1]

    trainer._generate_and_score_completions = noted
    trainer.train()
    advantages_BT, mask_BT = batches[0]["advantages"], batches[0]["completion_mask"]
    assert (advantages_BT[:, 0] > 0).any()
    assert (advantages_BT[:, 0] < 0).any()
    for advantages_T, size in zip(advantages_BT, mask_BT.sum(1).tolist(), strict=True):
        blamed = advantages_T[0] < 0  # and then nothing keeps the outcome from being better
        ratio = 1.0 if blamed or size == 1 else 4.0  # boost over min_weight
        assert (advantages_T[0] / advantages_T[size - 1]).item() == pytest.approx(ratio)


def test_probes_are_what_is_measured(policy, tmp_path):
    tokenizer, batches = policy[1], []

    def gold(rollouts, rows):
        ids = [tokenizer.encode(str(row["answer"]), add_special_tokens=False) for row in rows]
        return [sc.Probe(tokenizer.encode("\n#### "), value) for value in ids]

    functions = {"probe_func": gold, "on_credit": batches.append}
    trainer = trainer_of(policy, tmp_path, functions, max_steps=1, dynamic_sampling_rounds=8)
    trainer.train()
    (batch,) = batches
    measured = [(r, c) for r, c in zip(batch.rollouts, batch.credits, strict=True) if c.spans]
    assert measured
    for rollout, credit in measured:
        assert rollout.probe is not None
        assert credit.answer is None
        assert credit.answer_logp is not None
        assert credit.reason != "no_answer"


@pytest.mark.slow
def test_in_mode_uniform_neither_is_called_and_the_batch_is_stock(policy, tmp_path):
    def never(*_):
        raise AssertionError("called")

    trainer = trainer_of(policy, tmp_path, {"credit_func": never, "probe_func": never}, credit_mode="uniform")
    trainer.train()
    stock = trainer_of(policy, tmp_path, {}, credit_mode="uniform")
    stock.train()
    for name, value in trainer.model.state_dict().items():
        assert torch.equal(value, stock.model.state_dict()[name])


@pytest.mark.parametrize(
    ("functions", "changes", "message"),
    [
        ({"credit_func": halves, "probe_func": list}, {}, "there are a probe_func and a credit_func; expected one"),
        ({"credit_func": halves}, {"credit_mode": "mediated"}, "credit_mode is 'mediated', which needs the influence"),
        ({"credit_func": halves}, {"credit_mode": "blame"}, "credit_mode is 'blame', which needs the surprisal"),
        (
            {"credit_func": halves},
            {"credit_horizon": 8},
            "credit_horizon is 8, and credit is measured by a credit_func",
        ),
        ({"credit_func": halves}, {"credit_budget": 0.1}, "credit_budget is 0.1"),
    ],
)
def test_settings_that_would_not_be_read_are_refused_at_the_start(policy, tmp_path, functions, changes, message):
    with pytest.raises(TrainerError, match=message):
        trainer_of(policy, tmp_path, functions, **changes)


@pytest.mark.parametrize(
    ("functions", "message"),
    [
        ({"credit_func": lambda *_: []}, "credit_func returned 0 credits for 16 rollouts; expected one each"),
        ({"credit_func": lambda rollouts, *_: [1] * len(rollouts)}, "credit_func returned a int for rollout 0"),
        (
            {"credit_func": lambda rollouts, *_: [sc.Credit(torch.ones(1000))] * len(rollouts)},
            "returned 1000 weights for rollout 0 of [0-9]+ tokens; expected a Credit with one weight a token",
        ),
        (
            {"credit_func": lambda rollouts, *_: [replace(own, reason="bored") for own in halves(rollouts, [], None)]},
            "credit_func returned the reason 'bored' for rollout 0; expected None, or a key of spancredit.REASONS",
        ),
        ({"probe_func": lambda *_: [None]}, "probe_func returned 1 probes for 16 rollouts; expected one each"),
        ({"probe_func": lambda rollouts, _: ["?"] * len(rollouts)}, "probe_func returned a str for rollout 0"),
    ],
)
def test_what_they_return_is_checked(policy, tmp_path, functions, message):
    with pytest.raises(TrainerError, match=message):
        trainer_of(policy, tmp_path, functions).train()
