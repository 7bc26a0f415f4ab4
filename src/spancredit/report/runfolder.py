"""A run folder: what was asked, what it ran on, and everything that it wrote.

run.json        flags, seed, processes, versions config.json       every setting, resolved
settings.yaml   the user's YAML, if any          metrics.jsonl     one row a logged step
records.jsonl   rollouts with their credit       held_out.jsonl    accuracy on held-out problems
curve.png       learning curve                   checkpoint-*/     to resume from
model/          the trained policy               .lock             held while a process works on it
"""

import json
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spancredit.errors import RunFolderError
from spancredit.report.checkpoints import is_safetensors
from spancredit.report.form import of_accuracy, of_metrics, of_record
from spancredit.report.lines import keep_until, read_lines, read_object, write
from spancredit.report.versions import versions


@dataclass(frozen=True)
class RunFolder:
    path: Path

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def records(self) -> Path:
        return self.path / "records.jsonl"

    @property
    def held_out(self) -> Path:
        return self.path / "held_out.jsonl"

    @classmethod
    def create(
        cls,
        path: Path,
        flags: list[str],
        settings: Path | None,
        seed: int,
        processes: int = 1,
        weights: str = "whole weights",
    ) -> "RunFolder":
        """Start a run in a folder that holds none.

        Args:
            flags, settings: The command line and the YAML file that the run is started with, kept to resume it.
            seed, processes: Of the run.
            weights: How the processes hold those of the policy.

        Raises:
            RunFolderError: if the folder already holds a run.
        """
        cls.check_free(path)
        path.mkdir(parents=True, exist_ok=True)
        if settings is not None:
            write(path / "settings.yaml", settings.read_text(encoding="utf-8"))
        facts = {"flags": flags, "seed": seed, "processes": processes, "weights": weights, "versions": versions()}
        facts["machine"] = platform.platform()
        write(path / "run.json", json.dumps(facts, indent=2) + "\n")
        return cls(path)

    @staticmethod
    def check_free(path: Path) -> None:
        """Refuse a name under which no run can be started.

        Raises:
            RunFolderError: if it is that of a run, or of a file.
        """
        if (path / "run.json").exists():
            raise RunFolderError(f"{path} already holds a run; --resume continues it, another --output_dir starts one.")
        if path.exists() and not path.is_dir():
            raise RunFolderError(f"{path} is a file; expected a folder, or a name that is free.")

    @classmethod
    def reopen(cls, path: Path) -> "RunFolder":
        """Open a run to continue it.

        Raises:
            RunFolderError: if there is no run in the folder.
        """
        if not (path / "run.json").exists():
            raise RunFolderError(f"{path} holds no run to resume; expected a folder with a run.json.")
        return cls(path)

    def facts(self) -> dict[str, Any]:
        """Flags, seed, processes, versions and machine of the run.

        Raises:
            RunFolderError: if they cannot be read.
        """
        path = self.path / "run.json"
        facts = read_object(path, "the flags, seed and versions that a run starts with")
        for name, kind in {"flags": list, "seed": int, "versions": dict}.items():
            if not isinstance(facts.get(name), kind):
                raise RunFolderError(f"{path} has {name} {facts.get(name)!r}; expected a {kind.__name__}.")
        return facts

    def settings(self) -> dict[str, Any]:
        """Every setting of the run, resolved; none before it has begun.

        Raises:
            RunFolderError: if they cannot be read.
        """
        path = self.path / "config.json"
        return read_object(path, "the settings that a run writes as it begins") if path.exists() else {}

    def request(self) -> tuple[Path | None, list[str]]:
        """The YAML file and the flags that the run was started with."""
        settings = self.path / "settings.yaml"
        return settings if settings.exists() else None, list(self.facts()["flags"])

    def check_seen(self) -> None:
        """Refuse a folder that this process, on another machine than the one that made it, does not see.

        Raises:
            RunFolderError: if so.
        """
        if not (self.path / "run.json").exists():
            raise RunFolderError(
                f"{self.path.resolve()} has no run.json on {platform.node()}, though the main process has made it; "
                "expected a folder that all machines share."
            )

    def check_launch(self, processes: int, weights: str) -> None:
        """Refuse to continue the run in other processes than it was started in.

        Args:
            weights: How they hold the policy's.

        Raises:
            RunFolderError: if their number or the way is another one.
        """
        started, held = self.facts().get("processes", 1), self.facts().get("weights", weights)
        if processes != started:
            raise RunFolderError(
                f"{self.path} was started in {started} process{'es' if started > 1 else ''} and is resumed in "
                f"{processes}; expected as many, since batches and random states are of each process: accelerate "
                f"launch --num_processes {started} (without it for 1)."
            )
        if weights != held:
            raise RunFolderError(
                f"{self.path} was started with {held} and is resumed with {weights}; expected the same config of the "
                "launcher, since checkpoints are written its way."
            )

    def trained_to_the_end(self, checkpoint: Path) -> bool:
        """Whether only what comes after training is missing."""
        state = json.loads((checkpoint / "trainer_state.json").read_text())
        return bool(state["global_step"] >= state["max_steps"])

    def check_unfinished(self) -> None:
        """Refuse to begin a run again that has been trained to its end.

        Raises:
            RunFolderError: if it has.
        """
        trained = any(is_safetensors(weights) for weights in (self.path / "model").glob("*.safetensors"))
        if trained or (self.path / "result.json").exists():
            raise RunFolderError(
                f"{self.path} is trained to its end, and has no checkpoint that can be read, so that --resume would "
                "train it all over again; expected a run that was interrupted, or another --output_dir."
            )

    def rewind(self, step: int) -> None:
        """Forget what was written after a step, since the resumed run will write it again."""
        keep_until((self.metrics, self.records, self.held_out), step)

    def rows(self, lines: Path) -> list[dict[str, Any]]:
        """Of one of its three files of JSON lines; none if it has not been written.

        Raises:
            RecordError: if one is not of the form that is written there.
        """
        faults = {self.metrics: of_metrics, self.records: of_record, self.held_out: of_accuracy}[lines]
        return list(read_lines(lines, faults=faults)) if lines.exists() else []


def in_words(held_out: dict[str, Any]) -> str:
    """A row of held-out accuracy."""
    return str(held_out.get("text") or f"{held_out['accuracy']:.1%}")


def unused(path: Path) -> Path:
    """The path, or the first of path-2, path-3 ... that holds no run."""
    candidates = [path, *(path.with_name(f"{path.name}-{n}") for n in range(2, 10_000))]
    return next(candidate for candidate in candidates if not (candidate / "run.json").exists())


def latest(parent: Path) -> Path:
    """The run below a folder that was started last.

    Raises:
        RunFolderError: if there is none.
    """
    runs = sorted(parent.glob("*/run.json"), key=lambda path: path.stat().st_mtime)
    if not runs:
        raise RunFolderError(f"no run below {parent}/ to resume; expected --output_dir with the run's folder.")
    return runs[-1].parent
