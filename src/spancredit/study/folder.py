"""A study's folder, and what its runs left there.

study.yaml              the plan
runs/ARM-RATE-seedN/    run folders of `spancredit train`, each with its train.log and, which says that it is done,
                        result.json
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from spancredit.errors import RunFolderError
from spancredit.report.lines import write
from spancredit.report.lock import is_free, locked
from spancredit.report.runfolder import RunFolder
from spancredit.study.plan import MEASURES, Plan, Run
from spancredit.study.planfile import read_plan


@dataclass(frozen=True)
class StudyFolder:
    path: Path
    plan: Plan

    @classmethod
    @contextmanager
    def at_work(cls, path: Path, plan: Plan) -> Iterator["StudyFolder"]:
        """The folder of this plan, new or to be continued, with more arms and seeds if it has more by now.

        It is locked meanwhile: of two commands that share it, the second is refused and changes nothing.

        Raises:
            RunFolderError: if the folder holds runs that are not the plan's, or files that are no study's, or another
                process works on it.
        """
        saved = path / "study.yaml"
        if not saved.exists() and not is_free(path):
            raise RunFolderError(f"{path} exists and holds no study; expected a free name or an empty folder.")
        with locked(path, "study"):
            if saved.exists() and not plan.continues(read_plan(saved)):
                raise RunFolderError(
                    f"{path} holds a study of another plan; expected the same one, at most with more arms or seeds, "
                    "or a free name."
                )
            write(saved, plan.text)
            yield cls(path.resolve(), plan)

    @classmethod
    def open(cls, path: Path) -> "StudyFolder":
        """A study to be read.

        Raises:
            RunFolderError: if there is none.
        """
        if not (path / "study.yaml").is_file():
            raise RunFolderError(f"{path} holds no study; expected a folder with a study.yaml.")
        return cls(path.resolve(), read_plan(path / "study.yaml"))

    @property
    def runs(self) -> Path:
        return self.path / "runs"

    def of(self, run: Run) -> RunFolder:
        return RunFolder(self.runs / run.name)

    def prepare(self, run: Run) -> RunFolder:
        """The run's folder, with its settings."""
        folder = self.of(run)
        folder.path.mkdir(parents=True, exist_ok=True)
        write(folder.path / "settings.yaml", yaml.safe_dump(self.plan.settings_of(run), sort_keys=False))
        return folder

    def finish(self, run: Run) -> None:
        """Note that a run is done, and give back what only resuming it needed."""
        folder = self.of(run)
        write(folder.path / "result.json", "{}\n")
        for checkpoint in folder.path.glob("checkpoint-*"):
            shutil.rmtree(checkpoint)

    def done(self, run: Run) -> bool:
        return (self.of(run).path / "result.json").exists()

    def accuracy(self, run: Run) -> float | None:
        """Held-out accuracy at the end of a run that is done, by the plan's measure."""
        if not self.done(run):
            return None
        accuracy: float = self.held_out(run)[-1][MEASURES[self.plan.measure]]
        return accuracy

    def held_out(self, run: Run) -> list[dict[str, Any]]:
        """Held-out accuracies of a run that is done, one at least, each by the plan's measure too.

        Raises:
            RunFolderError: if there are none.
        """
        path = self.of(run).held_out
        rows = self.of(run).rows(path)
        if not rows:
            raise RunFolderError(f"{run.name} is done, and {path} holds no accuracy; expected one at least.")
        if not all(MEASURES[self.plan.measure] in row for row in rows):
            raise RunFolderError(f"{run.name} has no {self.plan.measure} accuracy; expected held_out_sampled: true.")
        return rows

    def accuracies(self, runs: list[Run]) -> dict[Run, float]:
        """Of those that are done."""
        found = {run: self.accuracy(run) for run in runs}
        return {run: accuracy for run, accuracy in found.items() if accuracy is not None}
