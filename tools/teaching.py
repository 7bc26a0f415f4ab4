"""Supervised training of the small policies, alike for all of them: one thread, so the same sums on every run."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerBase, set_seed
from trl import SFTConfig, SFTTrainer

from spancredit.evaluation.accuracy import Exam, greedy_accuracy, sampled_accuracy


def begin(seed: int) -> None:
    set_seed(seed)
    torch.set_num_threads(1)


def taught(
    policy: Any,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[dict[str, Any]],
    output: Path,
    steps: int,
    **own: Any,
) -> Any:
    """The policy after so many optimizer steps of 32 rows, each a `prompt` and the `completion` that is learned."""
    arguments = SFTConfig(
        output_dir=str(output),
        max_steps=steps,
        per_device_train_batch_size=32,
        max_length=None,
        bf16=False,
        gradient_checkpointing=False,
        save_strategy="no",
        report_to="none",
        logging_steps=50,
        use_cpu=True,
        **own,
    )
    columns = Dataset.from_list([{key: row[key] for key in ("prompt", "completion")} for row in rows])
    trainer = SFTTrainer(policy, arguments, train_dataset=columns, processing_class=tokenizer)
    trainer.train()
    return trainer.model.eval()


def save(
    policy: Any,
    tokenizer: PreTrainedTokenizerBase,
    output: Path,
    facts: dict[str, Any],
    questions: Sequence[Any],
    reward: Callable[..., list[float]],
    max_new_tokens: int,
) -> None:
    """The policy with `policy.json`: what it was made from, and how often it is right."""
    exam = Exam(questions, reward, max_new_tokens)
    found = {
        "greedy": greedy_accuracy(policy, tokenizer, exam).mean,
        "sampled": sampled_accuracy(policy, tokenizer, exam).mean,
    }
    policy.save_pretrained(output)
    tokenizer.save_pretrained(output)
    (output / "policy.json").write_text(json.dumps({**facts, **found}, indent=2) + "\n")
    print(f"{output}: {found}")
