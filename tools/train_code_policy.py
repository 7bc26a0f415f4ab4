"""Make the bundled policy of the task `code`: a small Llama with its tokenizer, taught on generated functions.

    python tools/train_code_policy.py            # rewrites src/spancredit/policies/code; 15 minutes on one core

It is taught two things: to continue a header and docstring with the function's body, and to say what a call of a
finished function returns, as an interpreter's session would show it: what an outcome probe asks. Training stops early
on purpose: at 30 to 50 % of held-out functions there is room for reinforcement learning to improve.
"""

import itertools
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import torch
import typer
from datasets import Dataset
from train_policy import make_model, make_tokenizer
from transformers import set_seed
from trl import SFTConfig, SFTTrainer

from spancredit.evaluation.accuracy import Exam, greedy_accuracy, sampled_accuracy
from spancredit.tasks.code import CodeProblem, functions
from spancredit.tasks.code.reward import Reward

POLICY = Path(__file__).parents[1] / "src" / "spancredit" / "policies" / "code"
MOST_TOKENS = 96
ASKED = 0.3  # of the functions, for the value of a call
LONGEST_VALUE = 24  # characters of a value that is asked for


def rows(problems: list[CodeProblem], rng: random.Random) -> Iterator[dict[str, str]]:
    """A function to write, and one call of it to say the value of, for each problem."""
    for problem in problems:
        yield {"prompt": problem.prompt, "completion": problem.solution}
        calls = list(zip(problem.calls, problem.expected or (), strict=True))
        call, value = rng.choice(calls)
        asked = f">>> {problem.entry_point}({', '.join(map(repr, call.args))})\n"
        if rng.random() < ASKED and len(repr(value)) <= LONGEST_VALUE:
            yield {"prompt": f"{problem.prompt}{problem.solution}\n{asked}", "completion": repr(value)}


def main(
    output: Annotated[Path, typer.Option(help="Folder to write.")] = POLICY,
    steps: Annotated[int, typer.Option(help="Optimizer steps of 32 rows.")] = 800,
    seed: int = 0,
) -> None:
    set_seed(seed)
    torch.set_num_threads(1)  # the same sums in the same order on every run
    stream = list(itertools.islice(functions.problems("train", seed=seed), steps * 32))
    taught = list(itertools.islice(rows(stream, random.Random(seed)), steps * 32))
    tokenizer = make_tokenizer([row["prompt"] + row["completion"] for row in taught[:5000]], lines=True)
    arguments = SFTConfig(
        output_dir=str(output),
        max_steps=steps,
        per_device_train_batch_size=32,
        learning_rate=3e-3,
        lr_scheduler_type="warmup_stable_decay",
        lr_scheduler_kwargs={"num_decay_steps": steps // 4, "min_lr_ratio": 0.0},
        warmup_steps=50,
        max_length=None,
        bf16=False,
        gradient_checkpointing=False,
        save_strategy="no",
        report_to="none",
        logging_steps=50,
        seed=seed,
        use_cpu=True,
    )
    trainer = SFTTrainer(
        make_model(tokenizer), arguments, train_dataset=Dataset.from_list(taught), processing_class=tokenizer
    )
    trainer.train()
    policy = trainer.model.eval()
    held_out = list(itertools.islice(functions.problems("held_out", seed=seed), 500))
    exam = Exam(held_out, Reward(held_out), MOST_TOKENS)
    found = {
        "greedy": greedy_accuracy(policy, tokenizer, exam).mean,
        "sampled": sampled_accuracy(policy, tokenizer, exam).mean,
    }
    policy.save_pretrained(output)
    tokenizer.save_pretrained(output)
    facts = {"task": "code", "steps": steps, "seed": seed, **found}
    (output / "policy.json").write_text(json.dumps(facts, indent=2) + "\n")
    print(f"{output}: {found}")


if __name__ == "__main__":
    typer.run(main)
