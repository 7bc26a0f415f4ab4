"""The check by the package math-verify, which parses and compares what mathematicians write, expressions too.

    completion -> the part that answers -> a child process -> verdict

math-verify evaluates what it reads, and `\\boxed{9^{9^{9}}}` stops a process for good, where no time-out of its own
fires. So it works in a child, one for each process that asks, which is killed at a deadline and started again.

It is lenient, and lets through what the strict check refuses: one of several numbers on the line (`#### 17, 18` and
`#### 18:30` are right where 18 is, and so is `#### 1 = 18`), and a number of a text that gives no answer (`Perhaps 18.
I do not know.`).
"""

import atexit
import json
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Hashable, Sequence
from functools import cache
from importlib.util import find_spec
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from spancredit.errors import ConfigError, DataError
from spancredit.tasks.chat import Completion, said
from spancredit.tasks.numbers import BOX, boxes, final_number, last_line, read_number

SECONDS = 5.0  # for a completion, on the wall
START_SECONDS = 60.0
LONGEST = 2000  # characters that are parsed
RUN = "import runpy, sys; sys.path[:] = sys.argv[2:]; runpy.run_path(sys.argv[1], run_name='__main__')"


def reward(
    completions: Sequence[Completion],
    answer: Sequence[Any],
    log_metric: Callable[[str, float], None] | None = None,
    **_: Any,
) -> list[float]:
    """TRL's form: 1 where math-verify finds a completion's answer equal to the gold one, else 0.

    What takes longer than `SECONDS` is 0. That is said once, and counted in the trainer's metric
    `math_verify/unjudged`.

    Args:
        completions: Texts, or the messages of a conversation, of which the last counts.
        answer: The gold answers; a worked solution that ends `#### N` will do.

    Raises:
        ConfigError: if math-verify is not installed, or its process does not start.
        DataError: if math-verify cannot parse a gold answer.
    """
    require()
    child = _child(os.getpid())
    verdicts = [child.verdict(_gold(str(gold)), said(one)) for one, gold in zip(completions, answer, strict=True)]
    if log_metric is not None:
        log_metric("math_verify/unjudged", float(verdicts.count(None)))
    return [float(verdict is True) for verdict in verdicts]


def require() -> None:
    """Refuse to go on without the package."""
    if find_spec("math_verify") is None:
        raise ConfigError(
            "answer_check 'math_verify' needs the package math-verify, which is not installed: "
            "pip install 'spancredit[math]'."
        )


def answering_part(text: str) -> str:
    """The line after the last `####`, unless a box follows it, or it has no digit beside a box; else the text's end.

    math-verify looks for answers anywhere, and takes an intermediate `$5 + 13 = 18$` for one.
    """
    _, marker, rest = text.rpartition("####")
    line = last_line(text)
    heading = "\\boxed" in text and not any(map(str.isdigit, line))
    return line if marker and "\\boxed" not in rest and not heading else text[-LONGEST:]


def read(text: str) -> Hashable | None:
    """What a completion gives as its answer: a number, else what stands in its boxes or on the line; None without.

    Nothing is evaluated: `36/2` and `18` are two answers.
    """
    if (number := final_number(text)) is not None:
        return number
    part = answering_part(text)
    marked = [part] if "####" in text else []
    given = [one for one in boxes(part) if not BOX.fullmatch(one)] if "\\boxed" in part else marked
    return ", ".join(dict.fromkeys(map(_normal, given))) or None


class Verifier:
    """The child process of one process, whose threads take turns. It starts with the first question."""

    def __init__(self) -> None:
        self.unjudged = 0
        self._turn = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def verdict(self, gold: str, text: str) -> bool | None:
        """Whether the answer is right; None if it was not judged in time."""
        part = answering_part(text)
        if len(part) > LONGEST:
            return False
        with self._turn:
            reply = self._ask(gold, part)
        if reply == "gold":
            raise DataError(f"math-verify cannot parse the gold answer {gold[:40]!r}; expected a number or LaTeX.")
        return {"right": True, "wrong": False}.get(reply)

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _ask(self, gold: str, part: str) -> str:
        if self._process is None or self._process.poll() is not None:
            self.close()
            self._process = _started()
        reply = ""
        try:
            reply = _reply(self._process, json.dumps([SECONDS + 1, gold, part]))
        finally:
            if not reply:  # too late, crashed, or interrupted: its reply must not be taken for the next one's
                self.close()
        if not reply:
            self._count(part)
        return reply

    def _count(self, part: str) -> None:
        self.unjudged += 1
        if self.unjudged == 1:
            message = (
                f"spancredit: math-verify did not judge {part[-60:]!r} within {SECONDS:g} s; such answers score 0, and "
                "are counted in math_verify/unjudged."
            )
            warnings.warn(message, stacklevel=2)


def _gold(text: str) -> str:
    return _normal(text.rpartition("####")[2])


def _normal(answer: str) -> str:
    number = read_number(answer)
    return " ".join(answer.split()) if number is None else str(number)


@cache
def _child(process: int) -> Verifier:
    """Of the process of this number: a fork does not share its parent's."""
    verifier = Verifier()
    atexit.register(lambda: verifier.close() if os.getpid() == process else None)
    return verifier


def _started() -> "subprocess.Popen[str]":
    """A process that is ready. It has this one's import path, and is not interrupted by the keyboard."""
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, str(Path(__file__).with_name("verifier.py")), *sys.path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="ascii",
        start_new_session=True,
    )
    if _reply(process, "", START_SECONDS) != "right":
        process.kill()
        process.communicate()
        raise ConfigError(
            f"the process of math-verify did not start within {START_SECONDS:g} s; expected 'import math_verify' to do."
        )
    return process


def _reply(process: "subprocess.Popen[str]", request: str, seconds: float | None = None) -> str:
    """Its next line; empty if it ended, or is late."""
    assert process.stdin is not None
    assert process.stdout is not None
    if request:
        try:
            print(request, file=process.stdin, flush=True)
        except BrokenPipeError:
            return ""
    ready = wait([process.stdout.fileno()], SECONDS if seconds is None else seconds)
    return process.stdout.readline().strip() if ready else ""
