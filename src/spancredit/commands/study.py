"""`spancredit study`: arms x seeds from one YAML file, run, continued, and compared."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from spancredit.commands.checked import parse_checked
from spancredit.commands.quiet import quiet
from spancredit.errors import ConfigError, SpanCreditError
from spancredit.report.visible import visible
from spancredit.study.folder import StudyFolder
from spancredit.study.plan import Plan, Run
from spancredit.study.planfile import read_plan
from spancredit.study.results import compare
from spancredit.study.runner import run_study, slots_for
from spancredit.study.terminal import headline, progress


def study(
    config: Path, output_dir: Path | None, processes: int | None, console: Console
) -> tuple[StudyFolder, dict[Run, str]]:
    """Run a study, or what is left of it. The last words of each run that failed come with its folder.

    Raises:
        ConfigError: if the plan, or the settings of one of its arms, are not what they should be.
        RunFolderError: if the folder holds something else, or another process works on it.
    """
    if processes is not None and processes < 1:
        raise ConfigError(f"--processes is {processes}; expected at least 1.")
    quiet()
    plan = read_plan(config)
    devices = _devices(plan)
    place = output_dir or Path("studies") / config.stem
    with StudyFolder.at_work(place, plan) as folder, _Display(folder, console) as display:
        return folder, run_study(folder, slots_for(processes, devices), display.observe)


def show(folder: StudyFolder, failed: dict[Run, str], console: Console) -> None:
    """The results so far, and what failed."""
    comparisons = compare(folder)
    for comparison in comparisons:
        console.print(headline(comparison), "")
    if not comparisons:
        console.print("Learning rates are not chosen yet: tuning runs are missing, so the headline has not begun.")
    for run, words in failed.items():
        console.print(Text(visible(f"{run.name} failed, {words}"), style="bold red"), soft_wrap=True)


def plain(folder: StudyFolder, failed: dict[Run, str]) -> dict[str, Any]:
    """The results so far as JSON knows them."""
    return {
        "comparisons": [comparison.plain() for comparison in compare(folder)],
        "failed": {run.name: words for run, words in failed.items()},
    }


def _devices(plan: Plan) -> int:
    """How many accelerators the runs use, if any; refuses what `spancredit train` would, before anything runs."""
    devices = 0
    with tempfile.TemporaryDirectory() as scratch:
        for arm in plan.arms:
            path = Path(scratch) / "settings.yaml"
            settings = plan.settings_of(Run(arm, plan.rates[0], plan.seeds[0]))
            path.write_text(yaml.safe_dump({**settings, "output_dir": scratch}))
            try:
                _, arguments, _ = parse_checked(path, [])
            except SpanCreditError as error:
                raise ConfigError(f"arm {arm!r}: {str(error).replace(str(path), 'its settings')}") from error
            devices = max(devices, 0 if arguments.use_cpu else torch.accelerator.device_count())
    return devices


class _Display:
    """The table of what is done and left: live on a terminal, elsewhere a line for each run that ends."""

    def __init__(self, folder: StudyFolder, console: Console):
        self.folder, self.console = folder, console
        self.runs: Sequence[Run] = ()
        self.said: set[Run] = set()
        self.live = Live(console=console, refresh_per_second=2) if console.is_terminal else None

    def __enter__(self) -> "_Display":
        if self.live:
            self.live.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        if self.live:
            self.live.__exit__(*error)

    def observe(self, runs: Sequence[Run], working: Any, failed: dict[Run, str]) -> None:
        if self.live:
            words = [Text(visible(f"{run.name}: {why}"), style="red") for run, why in failed.items()]
            self.live.update(Group(progress(self.folder, runs, working, failed), *words))
            return
        if runs is not self.runs:
            self.runs = runs
            self.said |= {run for run in runs if self.folder.done(run)}
            if before := len(self.said & set(runs)):
                self.console.print(f"{before} of {len(runs)} runs were done before", highlight=False)
        for run in runs:
            if run not in self.said and (run in failed or self.folder.done(run)):
                self.said.add(run)
                accuracy = self.folder.accuracy(run)
                result = failed.get(run) if accuracy is None else f"held-out accuracy {accuracy:.1%}"
                line = f"{len(self.said & set(runs)):>4} of {len(runs)}  {run.name}: {result}"
                self.console.print(Text(visible(line)), soft_wrap=True)
