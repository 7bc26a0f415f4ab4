"""A programming problem: what is asked, which calls test an answer, and what they should return."""

from dataclasses import dataclass, fields
from typing import Any, Literal

from spancredit.errors import DataError
from spancredit.sandbox import Call

Comparison = Literal["equal", "set", "sequence", "match", "root", "digits", "pyramid"]


@dataclass(frozen=True)
class CodeProblem:
    """A problem whose solution continues its prompt.

    Attributes:
        name: Unique among the problems that one reward knows.
        prompt: Python: the header of a function with its docstring, or a docstring that says what to write.
        entry_point: The function that is called.
        canonical: A right solution that continues the prompt.
        calls: What an answer is tested by; every call gets arguments of its own.
        expected: What they should return, in the same order; None leaves it to the canonical solution.
        how: How values are compared; see `compare`.
        atol: Absolute tolerance of floats; 0 stands for `compare.ATOL`.
        test: A function `check(candidate)` with assertions, from which the calls are recorded; it goes with no `calls`.

    Raises:
        DataError: if it has no call, not one expected value a call, or nothing to take expected values from.
    """

    name: str
    prompt: str
    entry_point: str
    canonical: str | None
    calls: tuple[Call, ...] = ()
    expected: tuple[Any, ...] | None = None
    how: Comparison = "equal"
    atol: float = 0.0
    test: str | None = None

    def __post_init__(self) -> None:
        if not self.calls and self.test is None:
            raise DataError(f"the problem {self.name} has no call; expected one at least.")
        if self.expected is None and self.canonical is None:
            raise DataError(f"the problem {self.name} has neither expected values nor a canonical solution.")
        if self.expected is not None and len(self.expected) != len(self.calls):
            got = f"{len(self.calls)} calls and {len(self.expected)} expected values"
            raise DataError(f"the problem {self.name} has {got}; expected one value a call.")

    @property
    def question(self) -> str:
        return self.prompt

    @property
    def solution(self) -> str:
        """The canonical solution as a completion; empty without one."""
        return self.canonical or ""

    @property
    def answer(self) -> str:
        """What a dataset carries in the place of an answer: the name, by which a reward finds the problem."""
        return self.name

    @property
    def identity(self) -> list[Any]:
        """Two problems are the same if these are: all fields, the calls and how values are compared among them."""
        calls = [(call.args, dict(call.kwargs)) for call in self.calls]
        return [_written(calls if one.name == "calls" else getattr(self, one.name)) for one in fields(self)]

    def row(self) -> dict[str, Any]:
        """Columns of a dataset: `prompt`, and `answer`, which a reward reads."""
        return {"prompt": self.prompt, "answer": self.answer, "solution": self.solution}


def _written(value: Any) -> Any:
    """As JSON knows it, types told apart. Elements of a set are sorted: their own order is another in each process."""
    kind = type(value).__name__
    if isinstance(value, dict):
        return [kind, [[_written(key), _written(one)] for key, one in value.items()]]
    if isinstance(value, set | frozenset):
        return [kind, sorted(map(_written, value), key=repr)]
    if isinstance(value, list | tuple):
        return [kind, [_written(one) for one in value]]
    return repr(value)
