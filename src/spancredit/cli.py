"""The command line: `spancredit train | eval | compare | explain | study | report | bench | doctor`."""

import json
import os
import shlex
import signal
import sys
import time
from pathlib import Path
from pickle import UnpicklingError
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.text import Text

from spancredit import __version__
from spancredit.commands.bench import app as bench
from spancredit.commands.compare import compare
from spancredit.commands.doctor import doctor
from spancredit.commands.evaluate import evaluate
from spancredit.commands.explain import explain
from spancredit.commands.train_completion import TrainCommand
from spancredit.errors import ConfigError, SpanCreditError
from spancredit.report.visible import visible

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Give every span of a completion the credit it causally earned, inside GRPO/DAPO training.",
)
app.add_typer(bench, name="bench")
app.command("eval")(evaluate)
app.command()(compare)
app.command()(explain)
app.command(context_settings={"ignore_unknown_options": True})(doctor)  # those of train are for it to read
PASS_THROUGH = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


@app.callback(invoke_without_command=True)
def _first(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit
    size = os.environ.get("WORLD_SIZE", "1")
    started = int(size) if "LOCAL_RANK" in os.environ and size.isdigit() else 1
    if started > 1 and context.invoked_subcommand != "train":
        raise ConfigError(
            f"a launcher started {started} processes of spancredit {context.invoked_subcommand}, each of which would "
            "do the whole; expected one process: only spancredit train shares its work out."
        )


@app.command(cls=TrainCommand, context_settings=PASS_THROUGH)
def train(context: typer.Context) -> None:
    """Train a policy with counterfactual credit; without arguments, the bundled policy on the embedded task.

    Takes --config FILE.yaml, every field of trl.GRPOConfig and trl.ModelConfig as a flag, the fields of
    CreditConfig as --credit_*, and --resume. All of them: spancredit train --help
    """
    from spancredit.commands.train import train as run
    from spancredit.ranks import is_main
    from spancredit.report.summary import summary

    console = Console() if is_main() else Console(quiet=True, force_terminal=False)
    begun: list[Path] = []
    try:
        folder = run(context.args, console, begun.append)
    except KeyboardInterrupt:
        said = f"{resuming(begun[0])} {continuing(begun[0])}" if begun else "the run had not begun"
        console.print(Text(visible(f"interrupted; {said}")), soft_wrap=True)
        raise typer.Exit(130) from None
    except Exception as error:
        full = disk_full(error)
        if full is None or not begun:
            raise
        _fail(DISK.format(full, f"{resuming(begun[0])} {continuing(begun[0])}"), 1)
    if is_main():
        console.print(summary(folder))


@app.command()
def study(
    config: Annotated[Path, typer.Argument(help="The study's YAML file.")],
    output_dir: Annotated[
        Path | None,
        typer.Option("--output_dir", "--output-dir", help="Its folder. Default: studies/ and the file's name."),
    ] = None,
    processes: Annotated[
        int | None, typer.Option(help="Runs at a time. Default: one an accelerator, else one a core.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Compare arms over seeds: uniform, counterfactual, inverted and random credit, and what the file names.

    The same command continues a study that was interrupted. Arms share seeds, so that they are compared in pairs.

    Examples:

      spancredit study study.yaml

      spancredit study study.yaml --output_dir studies/second --processes 4 --json
    """
    from spancredit.commands.study import plain, show
    from spancredit.commands.study import study as run

    console = Console(stderr=as_json)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # runs end with it
    try:
        folder, failed = run(config, output_dir, processes, console)
    except KeyboardInterrupt:
        console.print("interrupted; the same command continues")
        raise typer.Exit(130) from None
    if as_json:
        typer.echo(json.dumps(plain(folder, failed), indent=2))
    else:
        show(folder, failed, console)
        console.print(Text(visible(f"{folder.path}; spancredit report makes a page of it")), soft_wrap=True)
    raise typer.Exit(1 if failed else 0)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="The folder of a run or of a study.")],
    out: Annotated[Path | None, typer.Option(help="The page. Default: report.html in the folder.")] = None,
) -> None:
    """Write a run or a study as one HTML page: curves, tables, rollouts coloured by credit. It needs no network.

    Examples:

      spancredit report runs/one

      spancredit report studies/study --out study.html
    """
    from spancredit.commands.report import report as run

    typer.echo(visible(str(run(folder, out))))


PATIENCE = 10.0  # seconds
# What the system says of a full disk, and what torch says where it hides that. safetensors quotes the system.
DISK_FULL = ("No space left on device", "Disk quota exceeded", "unexpected pos ", "PytorchStreamWriter failed writing")


# Of a file or folder that somebody named.
NO_PLACE = (FileNotFoundError, NotADirectoryError, IsADirectoryError, FileExistsError, PermissionError)
DISK = "the disk is full ({}); what was written before is kept: once there is space, {}."


def resuming(folder: Path) -> str:
    """The command that continues a run."""
    return shlex.join(["spancredit", "train", "--resume", "--output_dir", str(folder)])


def continuing(folder: Path) -> str:
    """What that command does."""
    return "continues from the last checkpoint" if any(folder.glob("checkpoint-*")) else "starts it over"


def disk_full(error: BaseException | None) -> str | None:
    """What an error, or one that it came from, says of a full disk; None if it is about something else."""
    while error is not None:
        if any(words in str(error) for words in DISK_FULL):
            return str(error).splitlines()[0]
        error = error.__cause__ or error.__context__
    return None


def main() -> None:
    """Run the command line; an error of ours is one sentence on standard error and exit status 2, a full disk 1.

    So is a command that needs TRL where it is missing, as it has to be beside verl.
    """
    try:
        app(prog_name="spancredit")
    except SpanCreditError as error:
        _fail(str(error), 2)
    except ModuleNotFoundError as error:
        if error.name != "trl":
            raise
        _fail("this command trains with TRL, which is not installed; expected an environment with trl, and no verl.", 2)
    except UnpicklingError as error:  # of torch, which reads tensors and numbers and nothing else
        first = str(error).partition(".")[0]
        _fail(f"a checkpoint holds more than tensors and numbers ({first}), which could run code; none of it ran.", 2)
    except Exception as error:
        if said := disk_full(error):
            _fail(DISK.format(said, "the same command continues"), 1)
        if isinstance(error, NO_PLACE) and error.filename is not None:
            _fail(f"{error.filename}: {error.strerror}; expected a place that can be read and written.", 2)
        raise


def _fail(sentence: str, status: int) -> NoReturn:
    """Say it on the main process; elsewhere only if that does not end, and its launcher this one, in the meantime."""
    from spancredit.ranks import is_main

    if not is_main():
        time.sleep(PATIENCE)
    Console(stderr=True).print(Text(f"spancredit: {visible(sentence)}", style="bold red"), soft_wrap=True)
    sys.exit(status)
