"""`spancredit eval` and `spancredit compare`: accuracy of a policy on a task, and two evaluations in pairs."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

EVALS = Path("evals")
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def evaluate(
    model: Annotated[str, typer.Option(help="`bundled`, a folder, a GGUF file, or a name on the hub.")] = "bundled",
    task: Annotated[str, typer.Option(help="wordproblems or gsm8k.")] = "wordproblems",
    dataset: Annotated[
        str | None,
        typer.Option(help="Of gsm8k: a JSONL file, a folder with train.jsonl and test.jsonl, or a name on the hub."),
    ] = None,
    split: Annotated[str, typer.Option(help="held_out (GSM8K's test split) or train.")] = "held_out",
    difficulty: Annotated[
        str | None, typer.Option(help="Of wordproblems: easy, medium, hard, long, noisy or chatty.")
    ] = None,
    problems: Annotated[
        int | None, typer.Option(help="The first so many. Default: 500 of wordproblems, all of gsm8k.")
    ] = None,
    samples: Annotated[int, typer.Option(help="Sampled completions a problem, for maj@k; 0: greedy only.")] = 0,
    temperature: Annotated[float, typer.Option(help="Of the samples.")] = 0.7,
    max_new_tokens: Annotated[int, typer.Option("--max_new_tokens", "--max-new-tokens", help="Of a completion.")] = 512,
    batch_size: Annotated[int, typer.Option("--batch_size", "--batch-size", help="Problems at a time.")] = 32,
    prompt_style: Annotated[
        str, typer.Option("--prompt_style", "--prompt-style", help="plain, chat, or auto: chat for gsm8k if it can be.")
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
    dtype: Annotated[
        str, typer.Option(help="auto (that of the saved weights), float32, bfloat16 or float16.")
    ] = "auto",
    seed: Annotated[int, typer.Option(help="Of generated problems, and of samples.")] = 0,
    output_dir: Annotated[
        Path | None,
        typer.Option("--output_dir", "--output-dir", help="Its folder. Default: evals/ and task and model."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure greedy and maj@k accuracy, with confidence intervals. The same command continues after an interruption.

    Examples:

      spancredit eval

      spancredit eval --task gsm8k --model Qwen/Qwen2.5-1.5B-Instruct --samples 8

      spancredit eval --task gsm8k --dataset ./gsm8k --model ./my-model --prompt_style plain --few_shot 8
    """
    from dataclasses import asdict

    from spancredit.commands.quiet import quiet
    from spancredit.errors import ConfigError
    from spancredit.evaluation.folder import EvalFolder, checksum, fingerprint, prompts_checksum
    from spancredit.evaluation.result import summarise
    from spancredit.evaluation.run import Decoding, run
    from spancredit.models import load_policy, ready
    from spancredit.report.evalprogress import EvalProgress
    from spancredit.report.lock import locked
    from spancredit.tasks.settings import settings_of
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
    )
    if problems is not None and problems < 1:
        raise ConfigError(f"--problems is {problems}; expected at least 1.")
    policy, tokenizer = ready(*load_policy(model, dtype=dtype))
    loaded = load_task(settings, seed, tokenizer)
    chosen = loaded.problems(split, problems)
    questions = loaded.asking(chosen)
    asked = {"model": model, "dtype": dtype, "split": split, **asdict(settings), **asdict(decoding)}
    asked |= {"problems": len(questions), "checksum": checksum(chosen)}
    asked |= {"prompts": prompts_checksum(tokenizer, questions), "weights": fingerprint(policy)}
    default = EvalFolder.free(EVALS / f"{task}-{Path(model).name}", asked)
    folder = EvalFolder.create(output_dir or default, asked)
    with locked(folder.path, "evaluation"):
        if before := len(folder.rows()):
            console.print(f"{folder.path}: {before} of {len(questions)} problems were answered before", highlight=False)
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
    console.print(_table(result))
    console.print(f"{folder.path}: every problem with its completions", soft_wrap=True, highlight=False)


def compare(
    first: Annotated[Path, typer.Argument(help="Folder of an evaluation.")],
    second: Annotated[Path, typer.Argument(help="Folder of another evaluation of the same problems.")],
    by: Annotated[str, typer.Option(help="greedy, majority or sampled.")] = "greedy",
    as_json: AsJson = False,
) -> None:
    """Compare two evaluations of the same problems, in pairs: McNemar's exact test.

    Examples:

      spancredit compare evals/gsm8k-before evals/gsm8k-after

      spancredit compare evals/gsm8k-before evals/gsm8k-after --by majority --json
    """
    from dataclasses import asdict

    from spancredit.errors import RunFolderError, UnknownNameError
    from spancredit.evaluation.folder import EvalFolder
    from spancredit.evaluation.result import BY, paired, share

    if by not in BY:
        raise UnknownNameError("accuracy", by, BY)
    folders = [EvalFolder.open(path) for path in (first, second)]
    checksums = [folder.facts()["settings"]["checksum"] for folder in folders]
    if len(set(checksums)) > 1:
        raise RunFolderError(f"{first} and {second} have different problems; expected two evaluations of the same.")
    for name in ("answer_check", *(("samples",) if by == "majority" else ())):
        one, other = (folder.facts()["settings"][name] for folder in folders)
        if one != other:
            raise RunFolderError(f"{first} has {name} {one!r}, {second} {other!r}; expected the same, to be compared.")
    before, after = (folder.rows() for folder in folders)
    found = paired(before, after, by)
    if as_json:
        typer.echo(json.dumps(asdict(found), indent=2))
        return
    console = Console()
    for path, own in ((first, before), (second, after)):
        console.print(f"{path}: {share([BY[by](row) for row in own])}", soft_wrap=True, highlight=False)
    gain = found.difference
    console.print(
        f"difference {100 * gain.mean:+.1f} points (95 % interval {100 * gain.low:+.1f} to {100 * gain.high:+.1f}), "
        f"p = {found.p:.3g}; better on {found.only_second} problems, worse on {found.only_first}",
        soft_wrap=True,
        highlight=False,
    )


def _table(result: dict[str, Any]) -> Table:
    from spancredit.evaluation.result import Share

    k = result["samples"]
    names = {"greedy": "greedy", "majority": f"maj@{k}", "sampled": f"mean of {k} samples"}
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column()
    for name, label in names.items():
        if name in result:
            table.add_row(label, Text(f"{Share(**result[name])}, {result['problems']} problems"))
    for name, label in {"unread": "without an answer", "truncated": "cut at the limit"}.items():
        table.add_row(label, f"{result[name]:.1%} of the completions")
    return table
