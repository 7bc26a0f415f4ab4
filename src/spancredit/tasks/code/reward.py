"""A reward of TRL's form, over one sandbox for the process."""

import atexit
import math
import os
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, Literal

from spancredit.errors import ConfigError, DataError, UnknownNameError
from spancredit.sandbox import Sandbox
from spancredit.sandbox.levels import LEVELS
from spancredit.sandbox.process import LevelName
from spancredit.sandbox.sandbox import MIB
from spancredit.tasks.chat import Completion, said
from spancredit.tasks.code.expected import complete
from spancredit.tasks.code.judge import STATUSES, Verdict, judge, judge_programs
from spancredit.tasks.code.problem import CodeProblem

MOST_PROCESSES = 8  # unasked
WALL = 3.0  # seconds on the wall for one of the processor: others work on this machine, too
OF_THE_MACHINE = ("cpu", "timeout", "lost")  # verdicts that say how busy it was, too
LEAST_MEMORY = 64  # MiB, of which Python itself takes 40


@dataclass(frozen=True)
class SandboxSettings:
    """Where candidates run.

    Attributes:
        level: As of `Sandbox`; `none` confines nothing, and is never taken unasked.
        seconds: Processor time of a candidate, all its calls together; on the wall it may take three times as long.
        memory: MiB of address space of a candidate.
        output: MiB of what all calls of a candidate return.
        processes: Candidates at a time; None: one a core, at most 8.

    Raises:
        ConfigError: if the level is unknown, or a number too small.
    """

    level: LevelName | Literal["auto"] = "auto"
    seconds: float = 10.0
    memory: int = 1024
    output: int = 4
    processes: int | None = None

    def __post_init__(self) -> None:
        if self.level not in ("auto", *LEVELS):
            raise UnknownNameError("level of the sandbox", self.level, ("auto", *LEVELS))
        for name, least in {"memory": LEAST_MEMORY, "output": 1, "processes": 1}.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"the sandbox's {name} is {value}; expected at least {least}.")
        if not 0 < self.seconds < math.inf:
            raise ConfigError(f"the sandbox's seconds are {self.seconds}; expected a number above 0.")


class Reward:
    """Judges completions of known problems. TRL calls it as a reward function.

    Args:
        problems: By whose names the column `answer` of the dataset goes.
        sandbox: Where candidates run. It starts with the first completion, and says at which level.
        partial: Whether a completion earns the share of the tests it passes, and not all or nothing.

    Raises:
        DataError: if two problems have one name.
    """

    __name__ = "code"  # what TRL's metrics call it

    def __init__(
        self, problems: Sequence[CodeProblem], sandbox: SandboxSettings = SandboxSettings(), partial: bool = False
    ):
        self._problems: dict[str, CodeProblem] = {}
        for problem in problems:
            self.know(problem)
        self._sandbox = sandbox
        self._partial = partial

    def __call__(
        self,
        completions: Sequence[Completion],
        answer: Sequence[str],
        log_metric: Callable[[str, float], None] | None = None,
        **_: Any,
    ) -> list[float]:
        """TRL's form: 1 for a completion that passes every test, else 0, or the share of tests it passes.

        The shares of completions by verdict go to the trainer's metrics `code/STATUS`.

        Args:
            completions: Texts, or the messages of a conversation, of which the last counts.
            answer: The name of each one's problem.

        Raises:
            DataError: if a name is unknown, or a canonical solution gives no expected values.
            SandboxError: if there is no sandbox to be had here.
        """
        verdicts = self.verdicts(completions, answer)
        if log_metric is not None:
            counts = Counter(one.status for one in verdicts)
            for status in STATUSES:  # all of them, each time: what is not logged counts as unknown, not as 0
                log_metric(f"code/{status}", counts[status] / len(verdicts))
        return [one.share if self._partial else float(one.right) for one in verdicts]

    def know(self, problem: CodeProblem) -> None:
        """Take one more problem; one that is known already is left as it is.

        Raises:
            DataError: if another one has its name.
        """
        known = self._problems.setdefault(problem.name, problem)
        if (known.prompt, known.canonical) != (problem.prompt, problem.canonical):
            raise DataError(f"two problems have the name {problem.name}; expected names that differ.")

    def of_shares(self) -> "Reward":
        """The same, with the share of tests that pass as the reward. Both know what either gets to know."""
        other = copy(self)
        other._partial = True
        return other

    def open(self) -> Sandbox:
        """The sandbox, started if it is not yet: what a command does first, and else the first completion."""
        return process_sandbox(self._sandbox)

    def verdicts(self, completions: Sequence[Completion], answer: Sequence[str]) -> list[Verdict]:
        """What the rewards are made of."""
        box = self.open()
        return judge(box, [self._known(box, name) for name in answer], [said(one) for one in completions])

    def passed(
        self, names: Sequence[str], programs: Sequence[str], cpu_seconds: float
    ) -> list[tuple[tuple[bool, ...], bool]]:
        """For whole programs, each of the problem of that name: which tests pass, and whether they would another time.

        Args:
            cpu_seconds: Processor time of each program, if less than the sandbox's limit.
        """
        box = self.open()
        verdicts = judge_programs(box, [self._known(box, name) for name in names], programs, cpu_seconds)
        return [(one.passed, one.status not in OF_THE_MACHINE) for one in verdicts]

    def problem(self, name: str) -> CodeProblem:
        """The problem of this name, with its expected values."""
        return self._known(self.open(), name)

    def statuses(self, completions: Sequence[Completion], answer: Sequence[str]) -> list[str]:
        """The statuses of the verdicts: `passed`, or why not."""
        return [one.status for one in self.verdicts(completions, answer)]

    def _known(self, box: Sandbox, name: str) -> CodeProblem:
        """A problem with its expected values, which are found once."""
        if name not in self._problems:
            raise DataError(f"no problem has the name {name!r:.60}; expected one of those that the reward was made of.")
        self._problems[name] = complete(box, self._problems[name])
        return self._problems[name]


_open: dict[tuple[int, SandboxSettings], Sandbox] = {}
_turn = threading.Lock()


def process_sandbox(settings: SandboxSettings) -> Sandbox:
    """The sandbox that this process has for these settings: opened once, and closed when the process ends.

    Its level is said in a warning when it is opened.

    Raises:
        SandboxError: if it cannot be had here.
    """
    with _turn:
        key = (os.getpid(), settings)
        if key not in _open:
            box = Sandbox(
                settings.level,
                settings.processes or min(len(os.sched_getaffinity(0)), MOST_PROCESSES),
                seconds=WALL * settings.seconds,
                cpu_seconds=math.ceil(settings.seconds),
                memory=settings.memory * MIB,
                output=settings.output * MIB,
            )
            _open[key] = box.open()
            atexit.register(box.close)
            warnings.warn(f"spancredit: code runs in the sandbox {box.level}", stacklevel=2)
        return _open[key]
