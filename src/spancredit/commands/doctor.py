"""`spancredit doctor`: what would go wrong or be wasted in a training, before it is started."""

import sys
import traceback
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from pickle import UnpicklingError
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from spancredit.errors import ConfigError, SpanCreditError
from spancredit.report.visible import visible

PROMPTS = 4
FOUND, CRASHED = 1, 3  # exit statuses; 2 is a wrong command line, for all commands


def doctor(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            help="What spancredit train takes: --config FILE.yaml, and its flags. With --verl: overrides as python -m "
            "verl.trainer.main_ppo takes them, or YAML files with values.",
        ),
    ] = None,
    prompts: Annotated[
        int | None,
        typer.Option(
            help="Prompts of each of the trial's two steps, each with --num_generations completions. Default: "
            f"{PROMPTS}."
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 at warnings, too.")] = False,
    verl: Annotated[bool, typer.Option("--verl", help="Check the verl integration and its configuration.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Try a training for two steps that change nothing, and say what would go wrong or be wasted, and what to do.

    Takes the settings of spancredit train. The exit status is 1 if there is an error (with --strict, or a warning), and
    3 if the doctor itself fails.

    Examples:

      spancredit doctor

      spancredit doctor --config my.yaml --credit_noise_floor 0.2

      spancredit doctor --task gsm8k --model_name_or_path ./my-model --prompts 8 --json

      spancredit doctor --verl trainer.v1.trainer_mode=spancredit +credit.mode=counterfactual
    """
    if verl and (strict or prompts is not None):
        flag = "--strict" if strict else "--prompts"
        raise ConfigError(f"{flag} is for a trial, and --verl makes none; expected --verl without it.")
    argv, wanted = arguments or [], PROMPTS if prompts is None else prompts
    examine = partial(_verl, argv, as_json) if verl else partial(_train, argv, wanted, strict, as_json)
    raise typer.Exit(_unless_it_crashes(examine))


def _unless_it_crashes(examine: Callable[[], int]) -> int:
    """The exit status, which is of its own for what is no finding and no sentence of ours: its traceback is shown."""
    try:
        return examine()
    except (SpanCreditError, ModuleNotFoundError, UnpicklingError):  # for which main has a sentence
        raise
    except Exception:  # noqa: BLE001
        traceback.print_exc()
        return CRASHED


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
    return 0 if ok else FOUND


def _verl(arguments: list[str], as_json: bool) -> int:
    from spancredit.training.verl.doctor import examine

    findings = examine(arguments)
    ok = all(finding.ok for finding in findings)
    if as_json:
        from spancredit.doctor.finding import Finding
        from spancredit.doctor.show import as_data
        from spancredit.report.lines import json_text

        named = [Finding("note" if one.ok else "error", "verl", None, one.text, "") for one in findings]
        typer.echo(json_text(as_data(named, [], None, ok), indent=2))
    else:
        console = Console()
        for finding in findings:
            mark = ("ok    ", "green") if finding.ok else ("wrong ", "bold red")
            console.print(Text.assemble(mark, visible(finding.text)), soft_wrap=True)
    return 0 if ok else FOUND
