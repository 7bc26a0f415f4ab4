"""`spancredit doctor`: whether credit would work here, one line each, before a long run is started."""

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from spancredit.errors import ConfigError


def doctor(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(help="Overrides as python -m verl.trainer.main_ppo takes them, or YAML files with values."),
    ] = None,
    verl: Annotated[bool, typer.Option("--verl", help="Check the verl integration.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Check whether credit would work here: the verl plugin, and a configuration of verl.

    The exit status is 1 if anything is wrong.

    Examples:

      spancredit doctor --verl

      spancredit doctor --verl trainer.v1.trainer_mode=spancredit +credit.mode=counterfactual
    """
    if not verl:
        raise ConfigError("nothing to check; expected --verl.")
    from spancredit.training.verl.doctor import examine

    findings = examine(arguments or [])
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        console = Console()
        for finding in findings:
            mark = ("ok    ", "green") if finding.ok else ("wrong ", "bold red")
            console.print(Text.assemble(mark, finding.text), soft_wrap=True)
    raise typer.Exit(0 if all(finding.ok for finding in findings) else 1)
