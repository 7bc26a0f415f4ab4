"""`spancredit eval`: accuracy of a policy on a task."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from spancredit.report.visible import visible

EVALS = Path("evals")
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def evaluate(
    model: Annotated[
        str | None,
        typer.Option(
            help="`bundled`, `bundled-code`, a folder, a GGUF file, or a name on the hub. Default: the task's own."
        ),
    ] = None,
    task: Annotated[str, typer.Option(help="wordproblems, gsm8k or code.")] = "wordproblems",
    dataset: Annotated[
        str | None,
        typer.Option(
            help="Of gsm8k: a JSONL file, a folder with train.jsonl and test.jsonl, or a name on the hub. Of code's "
            "mbpp and humaneval_plus: the folder of evalplus's files."
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="held_out (GSM8K's test split) or train.")] = "held_out",
    difficulty: Annotated[
        str | None,
        typer.Option(help="Of wordproblems: easy, medium, hard, long, noisy, chatty; of functions the first three."),
    ] = None,
    problems: Annotated[
        int | None, typer.Option(help="The first so many. Default: 500 that are generated, else all.")
    ] = None,
    samples: Annotated[int, typer.Option(help="Sampled completions a problem, for maj@k, or pass@k of code.")] = 0,
    temperature: Annotated[float, typer.Option(help="Of the samples.")] = 0.7,
    max_new_tokens: Annotated[int, typer.Option("--max_new_tokens", "--max-new-tokens", help="Of a completion.")] = 512,
    batch_size: Annotated[int, typer.Option("--batch_size", "--batch-size", help="Problems at a time.")] = 32,
    prompt_style: Annotated[
        str,
        typer.Option("--prompt_style", "--prompt-style", help="plain, chat, or auto: chat where it can be."),
    ] = "auto",
    few_shot: Annotated[
        int, typer.Option("--few_shot", "--few-shot", help="Training problems that are shown with their solutions.")
    ] = 0,
    system_prompt: Annotated[
        str | None, typer.Option("--system_prompt", "--system-prompt", help="The system message of a chat.")
    ] = None,
    answer_check: Annotated[
        str, typer.Option("--answer_check", "--answer-check", help="Of gsm8k: strict or math_verify.")
    ] = "strict",
    code_set: Annotated[
        str | None,
        typer.Option("--code_set", "--code-set", help="Of code: functions (default), mbpp, humaneval, humaneval_plus."),
    ] = None,
    sandbox_level: Annotated[
        str | None,
        typer.Option("--sandbox_level", "--sandbox-level", help="Of code: auto (default), bubblewrap, landlock, none."),
    ] = None,
    sandbox_seconds: Annotated[
        float | None,
        typer.Option("--sandbox_seconds", "--sandbox-seconds", help="Of code: processor time a program."),
    ] = None,
    sandbox_memory: Annotated[
        int | None, typer.Option("--sandbox_memory", "--sandbox-memory", help="Of code: MiB of memory of a program.")
    ] = None,
    sandbox_processes: Annotated[
        int | None, typer.Option("--sandbox_processes", "--sandbox-processes", help="Of code: programs at a time.")
    ] = None,
    dtype: Annotated[
        str, typer.Option(help="auto (that of the saved weights), float32, bfloat16 or float16.")
    ] = "auto",
    seed: Annotated[int, typer.Option(help="Of generated problems, and of samples.")] = 0,
    output_dir: Annotated[
        Path | None,
        typer.Option(
            "--output_dir",
            "--output-dir",
            help="Its folder. Default: evals/ and the task and the model, or the run that trained it.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure greedy and maj@k accuracy, with confidence intervals. The same command continues after an interruption.

    Examples:

      spancredit eval

      spancredit eval --task gsm8k --model Qwen/Qwen2.5-1.5B-Instruct --samples 8

      spancredit eval --task gsm8k --dataset ./gsm8k --model ./my-model --prompt_style plain --few_shot 8

      spancredit eval --task code --code_set mbpp --dataset ./evalplus --model ./my-model --samples 8
    """
    from dataclasses import asdict

    from spancredit.commands.quiet import quiet
    from spancredit.errors import ConfigError
    from spancredit.evaluation.folder import EvalFolder, checksum, fingerprint, prompts_checksum
    from spancredit.evaluation.result import summarise
    from spancredit.evaluation.run import Decoding, run
    from spancredit.models import load_policy, ready
    from spancredit.report.evalprogress import EvalProgress
    from spancredit.tasks.settings import bundled_for, settings_of
    from spancredit.tasks.task import load_task

    quiet()
    console = Console(stderr=as_json)
    decoding = Decoding(samples, temperature, max_new_tokens, batch_size, seed)
    settings = settings_of(
        split,
        dataset,
        few_shot,
        task=task,
        difficulty=difficulty,
        prompt_style=prompt_style,
        system_prompt=system_prompt,
        answer_check=answer_check,
        code_set=code_set,
        sandbox_level=sandbox_level,
        sandbox_seconds=sandbox_seconds,
        sandbox_memory=sandbox_memory,
        sandbox_processes=sandbox_processes,
    )
    if problems is not None and problems < 1:
        raise ConfigError(f"--problems is {problems}; expected at least 1.")
    model = model or bundled_for(task)
    policy, tokenizer = ready(*load_policy(model, dtype=dtype))
    loaded = load_task(settings, seed, tokenizer)
    chosen = loaded.problems(split, problems)
    questions = loaded.asking(chosen)
    asked = {"model": model, "dtype": dtype, "split": split, **asdict(settings), **asdict(decoding)}
    del asked["sandbox_processes"], asked["outcome"]  # which decide nothing here
    asked |= {"problems": len(questions), "checksum": checksum(chosen)}
    asked |= {"prompts": prompts_checksum(tokenizer, questions), "weights": fingerprint(policy)}
    path = output_dir or EvalFolder.free(EVALS / f"{task}-{_named(model)}", asked)
    with EvalFolder.at_work(path, asked) as folder:
        if before := len(folder.rows()):
            words = f"{folder.path}: {before} of {len(questions)} problems were answered before"
            console.print(Text(visible(words)))
        with EvalProgress(console, len(questions)) as progress:
            try:
                rows = run(policy, tokenizer, loaded, questions, decoding, folder, progress.show)
            except KeyboardInterrupt:
                console.print("interrupted; the same command continues")
                raise typer.Exit(130) from None
        result = summarise(rows)
        folder.finish(result)
    if as_json:
        typer.echo(json.dumps({**result, "folder": str(folder.path)}, indent=2))
        return
    console.print(_table(settings.in_words, result))
    console.print(Text(visible(f"{folder.path}: every problem with its completions")), soft_wrap=True)


def _named(model: str) -> str:
    """A model by its own name, or by that of the run whose folder it lies in."""
    path = Path(model)
    return path.resolve().parent.name if (path.parent / "run.json").exists() else path.name


def _table(asked: str, result: dict[str, Any]) -> Table:
    from spancredit.evaluation.result import Share

    k = result["samples"]
    names = {"greedy": "greedy", "majority": f"maj@{k}", "sampled": f"mean of {k} samples"}
    accuracies = {label: result[name] for name, label in names.items() if name in result}
    accuracies |= {f"pass@{k}": one for k, one in result.get("pass_at", {}).items()}
    shares = {"without an answer": result.get("unread"), "cut at the limit": result["truncated"]}
    shares |= result.get("statuses", {})
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column()
    table.add_row("problems", Text(visible(f"{result['problems']} of {asked}")))
    for label, accuracy in accuracies.items():
        table.add_row(label, str(Share(**accuracy)))
    for label, value in shares.items():
        if value is not None:
            table.add_row(Text(visible(label)), f"{value:.1%} of the completions")
    return table
