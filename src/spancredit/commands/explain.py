"""`spancredit explain`: one completion, given or sampled, with the credit of each span."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from spancredit.errors import ConfigError, SpanCreditError
from spancredit.report.explainprogress import ExplainProgress
from spancredit.report.lines import is_place_for_a_file


def explain(
    prompt: Annotated[
        str | None, typer.Argument(help="The prompt; @FILE reads it from a file. Default: a problem of the task.")
    ] = None,
    completion: Annotated[
        str | None, typer.Argument(help="The completion; @FILE reads it from a file. Default: sampled.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="`bundled`, `bundled-code`, a folder of a model or an adapter, a GGUF file, or a name on the hub. "
            "Default: the task's own."
        ),
    ] = None,
    dtype: Annotated[
        str, typer.Option(help="auto (that of the saved weights), float32, bfloat16 or float16.")
    ] = "auto",
    task: Annotated[str | None, typer.Option(help="wordproblems, gsm8k or code, in the place of a prompt.")] = None,
    dataset: Annotated[
        str | None,
        typer.Option(help="Of gsm8k: a JSONL file, a folder with train.jsonl and test.jsonl, or a name on the hub."),
    ] = None,
    split: Annotated[str, typer.Option(help="held_out (GSM8K's test split) or train.")] = "held_out",
    difficulty: Annotated[
        str | None,
        typer.Option(help="Of wordproblems: easy, medium, hard, long, noisy, chatty; of functions the first three."),
    ] = None,
    problem: Annotated[
        int | None, typer.Option(help="Of the split, from 0, as spancredit eval numbers them. Default: the first.")
    ] = None,
    gold: Annotated[bool, typer.Option("--gold", help="Take the problem's own solution as the completion.")] = False,
    prompt_style: Annotated[
        str, typer.Option("--prompt_style", "--prompt-style", help="plain, chat, or auto: chat for gsm8k if it can be.")
    ] = "auto",
    few_shot: Annotated[
        int, typer.Option("--few_shot", "--few-shot", help="Training problems that are shown with their solutions.")
    ] = 0,
    outcome: Annotated[
        str | None,
        typer.Option(
            help="What a span's absence is measured on: answer, of code also execution (its default) or probe."
        ),
    ] = None,
    segmenter: Annotated[
        str | None, typer.Option(help="steps (default), sentence, line, window, or python, the default of code.")
    ] = None,
    intervention: Annotated[str, typer.Option(help="pad, attention, delete or filler.")] = "pad",
    scorer: Annotated[
        str,
        typer.Option(
            help="packed, batched or sequential, the same numbers; or a proxy: surprisal, entropy, attention, gradient."
        ),
    ] = "packed",
    horizon: Annotated[
        int | None, typer.Option(help="Tokens that an intervention reaches beside the answer. Default: all, exact.")
    ] = None,
    mode: Annotated[
        str, typer.Option(help="counterfactual, mediated, blame, inverted, random or uniform.")
    ] = "counterfactual",
    answer_pattern: Annotated[str | None, typer.Option(help="Own regular expression for the answer.")] = None,
    temperature: Annotated[
        float, typer.Option(help="Sampling temperature; log-probabilities are taken at it too.")
    ] = 1.0,
    max_new_tokens: Annotated[
        int, typer.Option("--max_new_tokens", "--max-new-tokens", help="Most tokens of a sampled completion.")
    ] = 512,
    seed: Annotated[int, typer.Option(help="Seed for sampling, and for generated problems.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the record as JSON.")] = False,
    html: Annotated[Path | None, typer.Option(help="Also write it as an HTML page, which needs no network.")] = None,
    svg: Annotated[Path | None, typer.Option(help="Also write what is shown as an SVG picture.")] = None,
) -> None:
    """Show which spans of a completion earned its answer.

    Examples:

      spancredit explain

      spancredit explain "Question: ..." " 23 + 45 = 68 apples. #### 68" --json

      spancredit explain @prompt.txt @completion.txt --model ./my-model --html explained.html

      spancredit explain "Where do 3 and 4 meet?" --prompt_style chat --model Qwen/Qwen2.5-0.5B-Instruct

      spancredit explain --task code --problem 3

      spancredit explain --task gsm8k --dataset ./gsm8k --problem 3 --gold --model model.gguf
    """
    for flag, path in {"--svg": svg, "--html": html}.items():
        if path is not None and not is_place_for_a_file(path):
            raise SpanCreditError(f"{flag} is {path}; expected a file in a folder that exists, and no folder.")
    of_problem: dict[str, Any] = {"task": task, "dataset": dataset, "difficulty": difficulty, "gold": gold}
    of_problem |= {"problem": problem is not None, "few_shot": few_shot}
    if prompt is not None and any(of_problem.values()):
        flag = next(name for name, given in of_problem.items() if given)
        raise ConfigError(f"--{flag} is for a problem of a task, and a prompt is given; expected one of the two.")
    segmenter = segmenter or ("python" if task == "code" else "steps")
    measured: dict[str, Any] = {"segmenter": segmenter, "intervention": intervention, "scorer": scorer, "mode": mode}
    if outcome == "exchange":
        raise ConfigError(
            "--outcome is 'exchange', which needs other completions of the problem; expected execution or probe."
        )
    asked: dict[str, Any] = {"task": task or "wordproblems", "prompt_style": prompt_style, "outcome": outcome}
    with ExplainProgress(Console(stderr=True)) as progress:
        with progress.step("loading the libraries"):
            from spancredit.commands.explain_rollout import Request, explained
            from spancredit.commands.quiet import quiet
            from spancredit.config import CreditConfig
            from spancredit.tasks.settings import BY_EXECUTION, bundled_for, settings_of
            from spancredit.training.functions import check_credit_func

            quiet()
        request = Request(
            prompt=None if prompt is None else _text(prompt),
            completion=None if completion is None else _text(completion),
            settings=settings_of(split, dataset, few_shot, difficulty=difficulty, **asked),
            split=split,
            problem=problem or 0,
            gold=gold,
            model=model or bundled_for(asked["task"]),
            dtype=dtype,
            config=CreditConfig(answer_pattern=answer_pattern, temperature=temperature, horizon=horizon, **measured),
            max_new_tokens=max_new_tokens,
            seed=seed,
        )
        by_execution = request.settings.measured_outcome in BY_EXECUTION
        if by_execution:
            check_credit_func(request.config, prefix="--")
        record = explained(request, progress)
    title = f"spancredit explain: {Path(request.model).name}"
    if html is not None:
        from spancredit.report.explainpage import explain_page
        from spancredit.report.lines import write

        read = ["statements", mode] if by_execution else list(measured.values())
        outcome = request.settings.measured_outcome
        facts = ", ".join([*([] if outcome == "answer" else [outcome]), *read, f"temperature {temperature:g}"])
        write(html, explain_page(record, title, facts))
    if svg is not None:
        from spancredit.report.terminal import save_svg

        save_svg(record, svg, title)
    if as_json:
        from spancredit.report.visible import visible_json

        typer.echo(visible_json(json.dumps(record, ensure_ascii=False, indent=2)))
    else:
        from spancredit.report.terminal import show

        show(record)


def _text(argument: str) -> str:
    if not argument.startswith("@"):
        return argument
    path = Path(argument[1:])
    if not path.is_file():
        raise SpanCreditError(f"{argument} names no file; expected @ and the path of a text file.")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise SpanCreditError(f"{argument} is no UTF-8 text ({error}).") from error
