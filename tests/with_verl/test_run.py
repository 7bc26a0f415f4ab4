"""verl's own command with credit: weights made on the workers are the pipeline's, and reach the loss."""

import pytest
import torch

pytest.importorskip("verl", reason="verl is not installed: make test-verl")

from runs_of_verl import DAPO, GROUP, PROMPTS, TEMPERATURE, run_verl

import spancredit as sc
from spancredit.models import load_policy

pytestmark = pytest.mark.slow
STEPS = (1, 2)


@pytest.fixture(scope="module")
def credit_run(tmp_path_factory):
    return run_verl(
        tmp_path_factory.mktemp("credit"),
        "trainer.v1.trainer_mode=spancredit",
        "+credit.mode=counterfactual",
        "actor_rollout_ref.model.use_remove_padding=True",
        "actor_rollout_ref.actor.use_dynamic_bsz=True",
        "actor_rollout_ref.actor.ppo_max_token_len_per_gpu=512",
        *DAPO,
    )


@pytest.fixture(scope="module")
def uniform_run(tmp_path_factory):
    return run_verl(
        tmp_path_factory.mktemp("uniform"), "trainer.v1.trainer_mode=spancredit", "+credit.mode=uniform", steps=1
    )


def sequences(rows):
    return [tuple(prompt + response) for prompt, response in zip(rows["prompts"], rows["responses"], strict=True)]


def reached_the_loss(run):
    """Advantages by sequence, over all ranks and steps."""
    return {
        sequence: advantages
        for rows in run.losses
        for sequence, advantages in zip(sequences(rows), rows["advantages"], strict=True)
    }


def test_weights_made_on_the_workers_are_those_of_the_whole_pipeline(credit_run):
    stock, final = credit_run.recorded("stock-1"), credit_run.recorded("final-1")
    model, tokenizer = load_policy(str(credit_run.folder / "policy"), dtype="float32")
    rollouts = [
        sc.Rollout(prompt, response, advantage=advantages[0], loss_mask=mask)
        for prompt, response, advantages, mask in zip(
            stock["prompts"], stock["responses"], stock["advantages"], stock["response_mask"], strict=True
        )
    ]
    config = sc.CreditConfig(mode="counterfactual", scorer="sequential", temperature=TEMPERATURE)
    expected = sc.assign_credit(model, tokenizer, rollouts, config)
    assert final["key"] == stock["key"]
    assert len(rollouts) == PROMPTS * GROUP
    assert sum(one.reason is None for one in expected) >= PROMPTS
    for one, weights in zip(expected, final["credit_weights"], strict=True):
        torch.testing.assert_close(torch.tensor(weights), one.token_weights, atol=1e-4, rtol=0)


@pytest.mark.parametrize("step", STEPS)
def test_the_loss_gets_stock_advantages_times_weights(credit_run, step):
    stock, final = credit_run.recorded(f"stock-{step}"), credit_run.recorded(f"final-{step}")
    reached = reached_the_loss(credit_run)
    weighted = [
        (torch.tensor(one) * torch.tensor(weights)).tolist()
        for one, weights in zip(stock["advantages"], final["credit_weights"], strict=True)
    ]
    assert [reached[sequence] for sequence in sequences(stock)] == weighted
    assert any(len(set(row)) > 1 for row in weighted)


def test_what_came_of_it_is_among_verls_metrics(credit_run):
    for step, metrics in zip(STEPS, credit_run.metrics, strict=True):
        weights = credit_run.recorded(f"final-{step}")["credit_weights"]
        scored = sum(len(set(row)) > 1 for row in weights) / len(weights)
        assert metrics["credit/scored"] == pytest.approx(scored)
        assert metrics["credit/forwards"] > PROMPTS * GROUP * scored
        assert metrics["credit/drop/calculation"] > 0
        assert metrics["timing_s/credit"] > 0


def test_uniform_leaves_verls_own_advantages_bit_for_bit(uniform_run):
    stock = uniform_run.recorded("stock-1")
    reached = reached_the_loss(uniform_run)
    assert [reached[sequence] for sequence in sequences(stock)] == stock["advantages"]
    assert any(one[0] != 0 for one in stock["advantages"])
    assert not [name for name in uniform_run.metrics[0] if name.startswith("credit/")]
