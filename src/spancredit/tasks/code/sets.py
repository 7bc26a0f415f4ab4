"""Which problems a code task has, how they are asked, and what judges the answers."""

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from spancredit.tasks.code import evalplus, functions, humaneval
from spancredit.tasks.code.extract import NEXT, TESTS
from spancredit.tasks.code.problem import CodeProblem
from spancredit.tasks.code.reward import Reward, SandboxSettings

SETS = ("functions", "humaneval", *evalplus.FILES)
INSTRUCTION = "Write the whole function in one block of Python code."
ASKED = "```python\n{question}```\n{instruction}"
SOLVED = "```python\n{question}{solution}```"
EXTREME = {"seconds": 30.0, "output": 32}  # for evalplus's inputs, some of which take as much


class CodeSettings(Protocol):
    """The part of a task's settings that is read here."""

    @property
    def code_set(self) -> str | None: ...
    @property
    def difficulty(self) -> str | None: ...
    @property
    def dataset(self) -> str | None: ...
    @property
    def sandbox_level(self) -> str | None: ...
    @property
    def sandbox_seconds(self) -> float | None: ...
    @property
    def sandbox_memory(self) -> int | None: ...
    @property
    def sandbox_processes(self) -> int | None: ...


class CodeSet:
    """Problems of these settings, by split, and the reward that knows every one of them that was asked for.

    Training problems are always of `functions`: the other sets are benchmarks, which nothing should be trained on.

    Raises:
        ConfigError: if a setting of the sandbox is none that it can have.
    """

    def __init__(self, settings: CodeSettings, seed: int):
        self._settings = settings
        self._seed = seed
        self.held_out = settings.code_set or "functions"
        self.reward = Reward((), sandbox_settings(settings))

    def of(self, split: str) -> Iterator[CodeProblem]:
        for problem in self._problems(split):
            self.reward.know(problem)
            yield problem

    def _problems(self, split: str) -> Iterable[CodeProblem]:
        if split == "train" or self.held_out == "functions":
            return functions.problems(split, self._seed, self._settings.difficulty or "medium")
        return (
            humaneval.load()
            if self.held_out == "humaneval"
            else evalplus.load(self.held_out, self._settings.dataset or "")
        )

    def prompting(self) -> dict[str, Any]:
        """How they are asked. Plain prompts of MBPP+ hold no header: a solution begins as the next function would."""
        ends = TESTS if self.held_out == "mbpp" else (*TESTS, *NEXT)
        return {"template": "{question}", "instruction": INSTRUCTION, "asks": ASKED, "replies": SOLVED, "ends": ends}


def sandbox_settings(settings: CodeSettings) -> SandboxSettings:
    """As they are set, wide for the sets whose inputs are extreme."""
    own = {
        "level": settings.sandbox_level,
        "seconds": settings.sandbox_seconds,
        "memory": settings.sandbox_memory,
        "processes": settings.sandbox_processes,
    }
    wide = EXTREME if settings.code_set in evalplus.FILES else {}
    given: dict[str, Any] = {**wide, **{name: value for name, value in own.items() if value is not None}}
    return SandboxSettings(**given)
