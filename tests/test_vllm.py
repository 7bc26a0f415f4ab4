"""What vLLM generates is trained on with credit: TRL's own way to it is left alone. No vLLM runs here."""

import copy

import pytest
import torch
from datasets import Dataset
from toy_models import TRAINER
from trl.trainer import grpo_trainer

from spancredit.training.trl import CreditGRPOConfig, CreditGRPOTrainer

STEPS = 2
ROWS = Dataset.from_list(
    [{"prompt": f"Question: Ana has {n} eggs and finds {n}.\nSolution:", "n": n} for n in range(9)]
)


class Engine:
    """In the place of TRL's `VLLMGeneration`, which TRL makes, syncs and asks."""

    def __init__(self, model, processing_class, **settings):
        self.model, self.tokenizer, self.settings = model, processing_class, settings
        self.calls: list[str] = []

    def sync_weights(self):
        self.calls.append("sync")

    def generate(self, prompts, images, num_generations, profiler):
        self.calls.append("generate")
        assert images is None
        assert [prompts[i] for i in range(0, len(prompts), num_generations)] == [
            prompts[i + num_generations - 1] for i in range(0, len(prompts), num_generations)
        ], "the prompts of a group are together"
        ids = [self._completion(prompt, i) for i, prompt in enumerate(prompts)]
        return None, ids, [[[-1.0]] * len(one) for one in ids], None

    def _completion(self, prompt, place):
        n = int(self.tokenizer.decode(prompt).split()[3])
        text = f" Ana now has {n} + {n} = {2 * n + place % 2} eggs.\n#### {2 * n + place % 2}"
        return [*self.tokenizer(text, add_special_tokens=False).input_ids, self.tokenizer.eos_token_id]


def right(completions, n, **_):
    return [float(text.endswith(f"#### {2 * number}")) for text, number in zip(completions, n, strict=True)]


@pytest.mark.parametrize("rounds", [0, 2])
def test_vllm_generates_and_credit_weighs_what_it_gave(policy, tmp_path, monkeypatch, rounds):
    monkeypatch.setattr(grpo_trainer, "VLLMGeneration", Engine)
    model, tokenizer = policy
    config = CreditGRPOConfig(
        output_dir=str(tmp_path),
        max_steps=STEPS,
        per_device_train_batch_size=8,
        num_generations=4,
        max_completion_length=48,
        use_vllm=True,
        vllm_mode="colocate",
        dynamic_sampling_rounds=rounds,
        **TRAINER,
    )
    batches = []
    trainer = CreditGRPOTrainer(
        copy.deepcopy(model), right, config, train_dataset=ROWS, processing_class=tokenizer, on_credit=batches.append
    )
    trainer.train()
    assert trainer.vllm_generation.settings["mode"] == "colocate"
    assert trainer.vllm_generation.calls == ["sync", "generate"] * STEPS, "weights are sent once a step, before it asks"
    for batch in batches:
        texts = [tokenizer.decode(rollout.completion_ids, skip_special_tokens=True) for rollout in batch.rollouts]
        assert all("= " in text and "####" in text for text in texts)
        assert all(credit.reason is None for credit in batch.credits)
        assert any(credit.token_weights.std() > 0.1 for credit in batch.credits)
    log = [row for row in trainer.state.log_history if "reward" in row]
    assert all(row["credit/scored"] == 1.0 for row in log)
    assert all("sampling/importance_sampling_ratio/mean" in row for row in log), "TRL corrects for vLLM's numbers"
    assert any(
        not torch.equal(one, other) for one, other in zip(model.parameters(), trainer.model.parameters(), strict=True)
    )
