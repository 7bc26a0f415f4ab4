"""The trainer: uniform is TRL bit for bit, weights reach the gradient, and nothing else of the loss moves."""

import copy
from itertools import islice

import pytest
import torch
from datasets import Dataset
from toy_models import TRAINER
from trl import GRPOConfig, GRPOTrainer

import spancredit as sc
from spancredit.counterfactual.scorers import SCORERS
from spancredit.tasks.wordproblems import problems
from spancredit.training import trl as adapter
from spancredit.training.trl import CreditGRPOConfig, CreditGRPOTrainer

ROWS = Dataset.from_list([problem.row() for problem in islice(problems("train", 0, "easy"), 64)])


def settings(tmp_path, **changes):
    defaults = dict(
        output_dir=str(tmp_path),
        max_steps=1,
        per_device_train_batch_size=8,
        num_generations=4,
        max_completion_length=48,
        temperature=1.2,
    )
    return TRAINER | defaults | changes


def mixed_reward(completions, **_):
    """Differs inside every group, whatever is sampled."""
    return [float(i % 2) for i in range(len(completions))]


def trained(policy, config, trainer_class=CreditGRPOTrainer, rewards=mixed_reward, rows=ROWS, **named):
    model, tokenizer = policy
    trainer = trainer_class(
        copy.deepcopy(model), rewards, config, train_dataset=rows, processing_class=tokenizer, **named
    )
    trainer.train()
    return trainer


def batches(trainer):
    """Record what each generation batch came out as."""
    seen, original = [], trainer._generate_and_score_completions

    def spy(inputs):
        seen.append(original(inputs))
        return seen[-1]

    trainer._generate_and_score_completions = spy
    return seen


@pytest.mark.slow
def test_uniform_credit_gives_the_stock_trainers_parameters_bit_for_bit(policy, tmp_path):
    config = settings(tmp_path, max_steps=5)
    stock = trained(policy, GRPOConfig(**config), GRPOTrainer)
    ours = trained(policy, CreditGRPOConfig(**config, credit_mode="uniform"))
    start = policy[0].state_dict()
    for name, value in stock.model.state_dict().items():
        assert torch.equal(value, ours.model.state_dict()[name]), name
    assert any(not torch.equal(value, start[name]) for name, value in stock.model.state_dict().items())


@pytest.mark.parametrize("loss_type", ["dapo", "grpo", "bnpo", "dr_grpo", "cispo", "sapo"])
def test_each_tokens_gradient_is_its_weight_times_the_stock_one_and_kl_is_untouched(
    policy, tmp_path, loss_type, monkeypatch
):
    model, tokenizer = policy
    config = CreditGRPOConfig(**settings(tmp_path, loss_type=loss_type))
    trainer = CreditGRPOTrainer(
        copy.deepcopy(model), mixed_reward, config, train_dataset=ROWS, processing_class=tokenizer
    )
    trainer.current_gradient_accumulation_steps = 1
    generator = torch.Generator().manual_seed(0)
    mask_BT = torch.ones(3, 5, dtype=torch.long)
    mask_BT[1, 3:] = 0
    old_BT = -torch.rand(3, 5, generator=generator)
    new_BT = old_BT + 0.6 * (torch.rand(3, 5, generator=generator) - 0.5)  # some of it clipped
    ref_BT = old_BT - 0.2
    weights_BT = torch.rand(3, 5, generator=generator) + 0.2
    advantages_B = torch.tensor([1.0, -0.7, 0.4])
    inputs = dict(
        prompt_ids=torch.ones(3, 2, dtype=torch.long),
        prompt_mask=torch.ones(3, 2, dtype=torch.long),
        completion_ids=torch.ones(3, 5, dtype=torch.long),
        completion_mask=mask_BT,
        old_per_token_logps=old_BT,
        ref_per_token_logps=ref_BT,
        num_items_in_batch=mask_BT.sum(),
    )

    def gradient(advantages, beta):
        logps_BT = new_BT.clone().requires_grad_()
        fake = (logps_BT, torch.zeros(3, 5), None)
        monkeypatch.setattr(trainer, "_get_per_token_logps_and_entropies", lambda *_, **__: fake)
        trainer.beta = beta
        trainer._compute_loss(trainer.model, {**inputs, "advantages": advantages}).backward()
        return logps_BT.grad

    stock = gradient(advantages_B, beta=0.0)
    assert stock.abs().sum() > 0
    torch.testing.assert_close(gradient(advantages_B[:, None] * weights_BT, beta=0.0), weights_BT * stock)
    kl = gradient(advantages_B, beta=0.3) - stock
    weighted_with_kl = gradient(advantages_B[:, None] * weights_BT, beta=0.3)
    torch.testing.assert_close(weighted_with_kl, weights_BT * stock + kl)


def test_advantages_are_the_rollouts_advantage_times_the_weights_of_assign_credit(policy, tmp_path):
    config = CreditGRPOConfig(**settings(tmp_path))
    model, tokenizer = policy
    seen_credits = []
    trainer = CreditGRPOTrainer(
        copy.deepcopy(model),
        mixed_reward,
        config,
        train_dataset=ROWS,
        processing_class=tokenizer,
        on_credit=seen_credits.append,
    )
    seen = batches(trainer)
    trainer.train()
    (output,), (batch,) = seen, seen_credits
    expected = sc.assign_credit(model, tokenizer, batch.rollouts, config.credit)
    assert any(credit.reason is None for credit in expected)
    for b, (rollout, credit) in enumerate(zip(batch.rollouts, expected, strict=True)):
        size = len(rollout.completion_ids)
        torch.testing.assert_close(output["advantages"][b, :size], rollout.advantage * credit.token_weights)
        assert rollout.completion_ids == output["completion_ids"][b, :size].tolist()
    assert config.credit.temperature == 1.2
    assert batch.rewards == [0.0, 1.0] * 4
    used = (output["advantages"] * output["completion_mask"]).sum(1) / output["completion_mask"].sum(1)
    torch.testing.assert_close(torch.tensor(list(trainer._logs["advantages"])), used)


def test_metrics_name_drops_shares_reasons_and_cost(policy, tmp_path):
    trainer = trained(policy, CreditGRPOConfig(**settings(tmp_path)))
    logged = trainer.state.log_history[0]
    shares = [value for key, value in logged.items() if key.startswith("credit/weight_share/")]
    assert sum(shares) == pytest.approx(1)
    reasons = sum(logged[f"credit/unscored/{reason}"] for reason in sc.REASONS)
    assert logged["credit/scored"] + reasons == pytest.approx(1)
    assert logged["credit/drop/calculation"] > logged["credit/drop/text"]
    assert logged["credit/tokens_forwarded"] > 0
    assert 0 < logged["credit/time_share"] < 1


@pytest.mark.parametrize("reward", [1.0, 0.1])  # which 8 of, summed in float32 and divided, are and are not
@pytest.mark.parametrize("mode", ["counterfactual", pytest.param("blame", marks=pytest.mark.slow)])
def test_zero_advantage_costs_no_forward(policy, tmp_path, reward, mode):
    config = CreditGRPOConfig(**settings(tmp_path, num_generations=8, per_device_train_batch_size=8, credit_mode=mode))
    trainer = trained(policy, config, rewards=lambda completions, **_: [reward] * len(completions))
    logged = trainer.state.log_history[0]
    assert logged["credit/unscored/zero_advantage"] == 1
    assert logged["credit/forwards"] == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        dict(per_device_train_batch_size=1, gradient_accumulation_steps=8),
        dict(per_device_train_batch_size=2, gradient_accumulation_steps=4, num_iterations=2, max_steps=2),
        dict(per_device_train_batch_size=4, steps_per_generation=2, max_steps=2),
        dict(gradient_checkpointing=True),
        dict(mask_truncated_completions=True, max_completion_length=24),
        dict(credit_scorer="sequential"),
    ],
    ids=["micro-batch 1", "inner epochs", "steps per generation", "checkpointing", "truncated masked", "sequential"],
)
def test_credit_is_measured_once_a_rollout_and_does_not_depend_on_the_batching(policy, tmp_path, changes, monkeypatch):
    model, tokenizer = policy
    calls, original = [], adapter.assign_credit
    monkeypatch.setattr(
        adapter, "assign_credit", lambda *args, **more: calls.append(args[2]) or original(*args, **more)
    )
    trainer = CreditGRPOTrainer(
        copy.deepcopy(model),
        mixed_reward,
        CreditGRPOConfig(**settings(tmp_path, **changes)),
        train_dataset=ROWS,
        processing_class=tokenizer,
    )
    seen = batches(trainer)
    trainer.train()
    assert len(calls) == len(seen) == 1
    assert len(calls[0]) == 8
    if "max_completion_length" not in changes:
        reference = CreditGRPOTrainer(
            copy.deepcopy(model),
            mixed_reward,
            CreditGRPOConfig(**settings(tmp_path)),
            train_dataset=ROWS,
            processing_class=tokenizer,
        )
        expected = batches(reference)
        reference.train()
        torch.testing.assert_close(seen[0]["advantages"], expected[0]["advantages"], atol=1e-3, rtol=1e-3)
    else:
        masked = seen[0]["completion_mask"].sum(1) == 0
        assert masked.any()
        assert trainer.state.log_history[0]["credit/unscored/no_loss_token"] == masked.float().mean()


def test_lora_trains_the_adapter_with_credit(policy, tmp_path):
    peft = pytest.importorskip("peft")
    lora = peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    trainer = trained(policy, CreditGRPOConfig(**settings(tmp_path)), peft_config=lora)
    assert trainer.state.log_history[0]["credit/scored"] > 0
    assert any(value.abs().sum() > 0 for name, value in trainer.model.named_parameters() if "lora_B" in name)


def test_bf16_trains_with_credit(policy, tmp_path):
    trainer = trained(policy, CreditGRPOConfig(**settings(tmp_path, bf16=True)))
    assert trainer.state.log_history[0]["credit/scored"] > 0
    assert trainer.args.bf16


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (dict(importance_sampling_level="sequence"), "importance_sampling_level='sequence'"),
        (dict(loss_type="vespo"), "loss_type='vespo'"),
        (dict(off_policy_mask_threshold=0.5), "off_policy_mask_threshold"),
        (dict(top_entropy_quantile=0.2), "top_entropy_quantile"),
        (dict(use_liger_kernel=True), "use_liger_kernel"),
    ],
)
def test_what_cannot_carry_per_token_advantages_is_refused_at_start(tmp_path, changes, named):
    with pytest.raises(sc.TrainerError, match=named):
        CreditGRPOConfig(**settings(tmp_path, **changes))
    CreditGRPOConfig(**settings(tmp_path, **changes), credit_mode="uniform")


def test_a_stock_config_is_refused(policy, tmp_path):
    with pytest.raises(sc.TrainerError, match="expected a CreditGRPOConfig"):
        trained(policy, GRPOConfig(**settings(tmp_path)))


def test_wrong_credit_settings_are_refused_by_the_config(tmp_path):
    with pytest.raises(sc.UnknownNameError, match="Did you mean 'inverted'"):
        CreditGRPOConfig(**settings(tmp_path), credit_mode="inverte")


def test_a_scorer_that_differs_from_the_definition_is_refused(policy, tmp_path, monkeypatch):
    wrong = lambda *args: [((logps[-1] - 0.1,), cost) for logps, cost in SCORERS["sequential"](*args)]  # noqa: E731
    monkeypatch.setitem(SCORERS, "packed", wrong)
    with pytest.raises(sc.ModelError, match="self-check failed"):
        trained(policy, CreditGRPOConfig(**settings(tmp_path)))
