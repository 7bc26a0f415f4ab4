"""An evaluation's folder: what was asked for, every problem with its completions, and the result.

eval.json    settings, versions, checksum of the problems       problems.jsonl  one row a problem, in order
result.json  accuracies, once all problems are done          .lock           held while a process works on it
"""

import json
import platform
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from spancredit.errors import RunFolderError
from spancredit.report.form import of_problem
from spancredit.report.lines import append_lines, is_json, keep_until, read_lines, read_object, write
from spancredit.report.lock import is_free, locked
from spancredit.report.versions import versions
from spancredit.tasks.chat import render
from spancredit.tasks.task import Problem, Question

CHUNK = 2**24  # bytes of weights at a time
ROWS, FACTS, RESULT = "problems.jsonl", "eval.json", "result.json"


@dataclass(frozen=True)
class EvalFolder:
    path: Path

    @classmethod
    def create(cls, path: Path, asked: dict[str, Any]) -> "EvalFolder":
        """The folder of this evaluation, new or to be continued.

        Args:
            asked: What decides its rows: settings, and the checksum of its problems.

        Raises:
            RunFolderError: if another evaluation is in it, or files that are no evaluation's.
        """
        folder = cls(path)
        folder._check(asked)
        if not (path / FACTS).exists():
            path.mkdir(parents=True, exist_ok=True)
            facts = {"settings": asked, "versions": versions(), "machine": platform.platform()}
            write(path / FACTS, json.dumps(facts, indent=2) + "\n")
        return folder

    @classmethod
    @contextmanager
    def at_work(cls, path: Path, asked: dict[str, Any]) -> Iterator["EvalFolder"]:
        """The same, locked meanwhile: of two commands that share it, the second is refused and changes nothing.

        Raises:
            RunFolderError: as `create`, or if another process works on it.
        """
        cls(path)._check(asked)
        with locked(path, "evaluation"):
            yield cls.create(path, asked)

    @classmethod
    def free(cls, path: Path, asked: dict[str, Any]) -> Path:
        """The path, or the first of path-2, path-3 ... that holds nothing, or this evaluation."""
        candidates = [path, *(path.with_name(f"{path.name}-{n}") for n in range(2, 10_000))]
        return next(one for one in candidates if is_free(one) or cls(one)._is_of(asked))

    @classmethod
    def open(cls, path: Path) -> "EvalFolder":
        """An evaluation that is done.

        Raises:
            RunFolderError: if there is none, or it is not done.
        """
        if not (path / FACTS).is_file():
            raise RunFolderError(f"{path} holds no evaluation; expected a folder that spancredit eval wrote.")
        if not (path / RESULT).is_file():
            raise RunFolderError(f"the evaluation in {path} is not done; the command that began it continues it.")
        return cls(path)

    def _check(self, asked: dict[str, Any]) -> None:
        if not (self.path / FACTS).exists():
            if not is_free(self.path):
                raise RunFolderError(
                    f"{self.path} exists and holds no evaluation; expected a free name or an empty folder."
                )
            return
        for name, (before, now) in self.changed(asked).items():
            raise RunFolderError(
                f"{self.path} holds an evaluation with {name} {before!r}, not {now!r}; expected the same settings to "
                "continue it, or another --output_dir."
            )

    def _is_of(self, asked: dict[str, Any]) -> bool:
        facts = self.path / FACTS
        return facts.is_file() and is_json(facts) and not self.changed(asked)

    def changed(self, asked: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
        """Settings that were others when the evaluation began: before, and now."""
        before = self.facts()["settings"]
        names = [name for name in asked | before if asked.get(name) != before.get(name)]
        return {name: (before.get(name), asked.get(name)) for name in names}

    def facts(self) -> dict[str, Any]:
        path = self.path / FACTS
        facts = read_object(path, "the settings that an evaluation starts with")
        if not isinstance(facts.get("settings"), dict):
            raise RunFolderError(f"{path} has no settings; expected those that an evaluation starts with.")
        return facts

    def setting(self, name: str) -> Any:
        """One of the settings that decide what is compared.

        Raises:
            RunFolderError: if it is not among them.
        """
        settings = self.facts()["settings"]
        if name not in settings:
            raise RunFolderError(f"{self.path / FACTS} has no {name} among its settings; expected all of them.")
        return settings[name]

    def all_rows(self) -> list[dict[str, Any]]:
        """Of an evaluation that is done.

        Raises:
            RunFolderError: if problems or samples are missing, or what `rows` raises.
        """
        rows, problems, samples = self.rows(), self.setting("problems"), self.setting("samples")
        if not rows or len(rows) != problems:
            raise RunFolderError(f"{self.path / ROWS} has {len(rows)} problems; expected {problems!r}, at least 1.")
        for number, row in enumerate(rows, start=1):
            if len(row["samples"]) != samples:
                got = f"line {number} has {len(row['samples'])} samples"
                raise RunFolderError(f"{self.path / ROWS} {got}; expected {samples!r}, as {FACTS} says.")
        return rows

    def rows(self) -> list[dict[str, Any]]:
        """Of the problems that are done, in order.

        Raises:
            RunFolderError: if they are not those of the first problems, each once.
            RecordError: if one is not of the form that is written there.
        """
        path = self.path / ROWS
        rows = list(read_lines(path, "problem", of_problem)) if path.exists() else []
        for number, row in enumerate(rows):
            if row["problem"] != number:
                raise RunFolderError(f"{path} line {number + 1} is of problem {row['problem']}; expected {number}.")
        return rows

    def rewind(self, count: int) -> None:
        """Keep the rows of the first `count` problems: what comes after was cut off within its batch."""
        keep_until([self.path / ROWS], count - 1, "problem")

    def add(self, rows: Sequence[dict[str, Any]]) -> None:
        append_lines(self.path / ROWS, rows)

    def finish(self, result: dict[str, Any]) -> None:
        write(self.path / RESULT, json.dumps(result, indent=2) + "\n")


def fingerprint(model: PreTrainedModel) -> int:
    """Of the weights, so that an evaluation is not taken for that of a model which was trained on under its name."""
    found = 0
    for value in model.state_dict().values():
        for part in value.reshape(-1).view(torch.uint8).split(CHUNK):
            found = zlib.crc32(part.cpu().numpy(), found)
    return found


def checksum(problems: Sequence[Problem]) -> int:
    """Of what is asked and what is right, so that an evaluation is not continued or compared on other problems."""
    return _checksum(one.identity for one in problems)


def prompts_checksum(tokenizer: PreTrainedTokenizerBase, questions: Sequence[Question]) -> int:
    """Of what the model reads, so that an evaluation does not go on with other worked examples or another template."""
    return _checksum(render(tokenizer, question.prompt) for question in questions)


def _checksum(values: Iterable[Any]) -> int:
    return zlib.crc32(json.dumps(list(values)).encode())
