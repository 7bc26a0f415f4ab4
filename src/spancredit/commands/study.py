"""`spancredit study`: arms x seeds from one YAML file, run, continued, and compared."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from spancredit.commands.train import quiet
from spancredit.commands.train_arguments import parse
from spancredit.errors import ConfigError
from spancredit.study.folder import StudyFolder, write
from spancredit.study.plan import Plan, Run, read_plan
from spancredit.study.results import compare
from spancredit.study.runner import Outcome, run_study
from spancredit.study.terminal import headline, progress


def study(
    config: Path, output_dir: Path | None, processes: int | None, console: Console
) -> tuple[StudyFolder, Outcome]:
    """Run a study, or what is left of it.

    Raises:
        ConfigError: if the plan, or the settings of one of its arms, are not what they should be.
        RunFolderError: if the folder holds something else, or another process works on it.
    """
    processes = processes or os.cpu_count() or 1
    if processes < 1:
        raise ConfigError(f"--processes is {processes}; expected at least 1.")
    quiet()
    plan = read_plan(config)
    _check(plan)
    folder = StudyFolder.create(output_dir or Path("studies") / config.stem, plan)
    with _Display(folder, console) as display:
        outcome = run_study(folder, processes, display.observe)
    write(folder.path / "rates.json", json.dumps({"best": outcome.rates.best, "common": outcome.rates.common}) + "\n")
    return folder, outcome


def show(folder: StudyFolder, failed: dict[Run, str], console: Console) -> None:
    """The results so far, and what failed."""
    for comparison in compare(folder):
        console.print(headline(comparison), "")
    for run, words in failed.items():
        console.print(Text(f"{run.name} failed, {words}", style="bold red"), soft_wrap=True)


def plain(folder: StudyFolder, failed: dict[Run, str]) -> dict[str, Any]:
    """The results so far as JSON knows them."""
    return {
        "comparisons": [comparison.plain() for comparison in compare(folder)],
        "failed": {run.name: words for run, words in failed.items()},
    }


def _check(plan: Plan) -> None:
    """Read the settings of every arm as `spancredit train` will, before anything runs."""
    with tempfile.TemporaryDirectory() as scratch:
        for arm in plan.arms:
            settings = plan.settings_of(Run(arm, plan.rates[0], plan.seeds[0]))
            path = Path(scratch) / "settings.yaml"
            path.write_text(yaml.safe_dump({**settings, "output_dir": scratch}))
            try:
                parse(path, [])
            except ConfigError as error:
                raise ConfigError(f"arm {arm!r}: {str(error).replace(str(path), 'its settings')}") from error


class _Display:
    """The table of what is done and left: live on a terminal, elsewhere a line for each run that ends."""

    def __init__(self, folder: StudyFolder, console: Console):
        self.folder, self.console = folder, console
        self.said: set[Run] = set()
        self.live = Live(console=console, refresh_per_second=2) if console.is_terminal else None

    def __enter__(self) -> "_Display":
        if self.live:
            self.live.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        if self.live:
            self.live.__exit__(*error)

    def observe(self, runs: Any, working: Any, failed: dict[Run, str]) -> None:
        if self.live:
            words = [Text(f"{run.name}: {why}", style="red") for run, why in failed.items()]
            self.live.update(Group(progress(self.folder, runs, working, failed), *words))
            return
        for run in runs:
            if run not in self.said and (run in failed or self.folder.done(run)):
                self.said.add(run)
                accuracy = self.folder.accuracy(run)
                result = failed.get(run) if accuracy is None else f"held-out accuracy {accuracy:.1%}"
                self.console.print(f"{len(self.said):>4} of {len(runs)}  {run.name}: {result}", highlight=False)
