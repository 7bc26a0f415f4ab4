"""A reward of TRL's form, over one sandbox for the process."""

import atexit
import os
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from spancredit.errors import DataError
from spancredit.sandbox import Sandbox
from spancredit.sandbox.process import LevelName
from spancredit.sandbox.sandbox import MIB
from spancredit.tasks.chat import Completion, said
from spancredit.tasks.code.expected import complete
from spancredit.tasks.code.judge import Verdict, judge
from spancredit.tasks.code.problem import CodeProblem

MOST_PROCESSES = 8  # unasked


@dataclass(frozen=True)
class SandboxSettings:
    """Where candidates run.

    Attributes:
        level: As of `Sandbox`; `none` confines nothing, and is never taken unasked.
        seconds: Wall time of a candidate, all its calls together; of the processor as much.
        memory: MiB of address space of a candidate.
        processes: Candidates at a time; None: one a core, at most 8.
    """

    level: LevelName | Literal["auto"] = "auto"
    seconds: float = 10.0
    memory: int = 1024
    processes: int | None = None


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
        self._problems = {problem.name: problem for problem in problems}
        if len(self._problems) < len(problems):
            twice = Counter(problem.name for problem in problems).most_common(1)[0][0]
            raise DataError(f"two problems have the name {twice}; expected names that differ.")
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
            for status, count in Counter(one.status for one in verdicts).items():
                log_metric(f"code/{status}", count / len(verdicts))
        return [one.share if self._partial else float(one.right) for one in verdicts]

    def verdicts(self, completions: Sequence[Completion], answer: Sequence[str]) -> list[Verdict]:
        """What the rewards are made of."""
        box = process_sandbox(self._sandbox)
        return judge(box, [self._known(box, name) for name in answer], [said(one) for one in completions])

    def _known(self, box: Sandbox, name: str) -> CodeProblem:
        """A problem with its expected values, which are found once."""
        if name not in self._problems:
            raise DataError(f"no problem has the name {name!r:.60}; expected one of those that the reward was made of.")
        self._problems[name] = complete(box, self._problems[name])
        return self._problems[name]


code_reward = Reward

_open: dict[tuple[int, SandboxSettings], Sandbox] = {}
_turn = threading.Lock()


def process_sandbox(settings: SandboxSettings, say: Callable[[str], None] = print) -> Sandbox:
    """The sandbox that this process has for these settings: opened once, and closed when the process ends.

    Raises:
        SandboxError: if it cannot be had here.
    """
    with _turn:
        key = (os.getpid(), settings)
        if key not in _open:
            processes = settings.processes or min(len(os.sched_getaffinity(0)), MOST_PROCESSES)
            box = Sandbox(settings.level, processes, settings.seconds, memory=settings.memory * MIB).open()
            atexit.register(box.close)
            say(f"spancredit: code runs in a sandbox, {box.level}")
            _open[key] = box
        return _open[key]
