"""`spancredit doctor`: what would go wrong or be wasted in a training, before it is started."""

import json
import sys
from contextlib import redirect_stdout
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from spancredit.errors import ConfigError


def doctor(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            help="What spancredit train takes: --config FILE.yaml, and its flags. With --verl: overrides as python -m "
            "verl.trainer.main_ppo takes them, or YAML files with values.",
        ),
    ] = None,
    prompts: Annotated[
        int, typer.Option(help="Prompts of each of the trial's two steps, each with --num_generations completions.")
    ] = 4,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 at warnings, too.")] = False,
    verl: Annotated[bool, typer.Option("--verl", help="Check the verl integration and its configuration.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Try a training for two steps that change nothing, and say what would go wrong or be wasted, and what to do.

    Takes the settings of spancredit train. The exit status is 1 if there is an error (with --strict, or a warning).

    Examples:

      spancredit doctor

      spancredit doctor --config my.yaml --credit_noise_floor 0.2

      spancredit doctor --task gsm8k --model_name_or_path ./my-model --prompts 8 --json

      spancredit doctor --verl trainer.v1.trainer_mode=spancredit +credit.mode=counterfactual
    """
    raise typer.Exit(_verl(arguments or [], as_json) if verl else _train(arguments or [], prompts, strict, as_json))


def _train(argv: list[str], prompts: int, strict: bool, as_json: bool) -> int:
    if prompts < 1:
        raise ConfigError(f"--prompts is {prompts}; expected at least 1.")
    with redirect_stdout(sys.stderr), Console(stderr=True).status("") as status:  # what libraries and rewards print
        from spancredit.commands.doctor_job import checked
        from spancredit.doctor.show import as_data, show
        from spancredit.report.lines import json_text

        findings, silent, measured = checked(argv, prompts, status.update)
    wrong = ("error", "warning") if strict else ("error",)
    ok = all(one.severity not in wrong for one in findings)
    if as_json:
        typer.echo(json_text(as_data(findings, silent, measured, ok), indent=2))
    else:
        show(Console(), findings, silent, measured)
    return 0 if ok else 1


def _verl(arguments: list[str], as_json: bool) -> int:
    from spancredit.training.verl.doctor import examine

    findings = examine(arguments)
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        console = Console()
        for finding in findings:
            mark = ("ok    ", "green") if finding.ok else ("wrong ", "bold red")
            console.print(Text.assemble(mark, finding.text), soft_wrap=True)
    return 0 if all(finding.ok for finding in findings) else 1
