"""`spancredit compare`: two evaluations of the same problems, in pairs."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from spancredit.report.visible import visible

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


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
    one, other = (folder.setting("checksum") for folder in folders)
    if one != other:
        raise RunFolderError(f"{first} and {second} have different problems; expected two evaluations of the same.")
    for name in ("answer_check", *(("samples",) if by == "majority" else ())):
        one, other = (folder.setting(name) for folder in folders)
        if one != other:
            raise RunFolderError(f"{first} has {name} {one!r}, {second} {other!r}; expected the same, to be compared.")
    before, after = (folder.all_rows() for folder in folders)
    found = paired(before, after, by)
    if as_json:
        typer.echo(json.dumps(asdict(found), indent=2))
        return
    console = Console()
    for path, own in ((first, before), (second, after)):
        console.print(Text(visible(f"{path}: {share([BY[by](row) for row in own])}")), soft_wrap=True)
    gain = found.difference
    console.print(
        f"difference {100 * gain.mean:+.1f} points (95 % interval {100 * gain.low:+.1f} to {100 * gain.high:+.1f}), "
        f"p = {found.p:.3g}; better on {found.only_second} problems, worse on {found.only_first}",
        soft_wrap=True,
        highlight=False,
    )
