"""What goes into the sandbox, and what comes out of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from spancredit.sandbox.inside.wire import Opaque

ResultStatus = Literal["value", "raised", "unsendable", "unfinished"]
OutcomeStatus = Literal[
    "done", "broken", "missing", "exited", "crashed", "timeout", "cpu", "flood", "garbled", "lost"
]  # fmt: skip

FAILURES: dict[OutcomeStatus, str] = {
    "broken": "the code itself raised",
    "missing": "the code defines no callable of the entry point's name",
    "exited": "the process ended by itself",
    "crashed": "a signal ended the process",
    "timeout": "the visit's deadline on the wall passed",
    "cpu": "the processor time was used up",
    "flood": "more bytes came than are permitted",
    "garbled": "what came is no reply",
    "lost": "the sandbox's own process died twice during the visit",
}


@dataclass(frozen=True)
class Call:
    """One call of the entry point.

    Attributes:
        args, kwargs: None, bool, int, float, complex, str, bytes, list, tuple, set, frozenset and dict, in each other.
    """

    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Candidate:
    """A program, and how it is called. Variants of a program share one tuple of calls, which is encoded once.

    Attributes:
        code: A module's source.
        entry_point: A callable that it defines.
        calls: In the order in which one process makes them. Nothing else reaches that process.
        cpu_seconds: Processor time of its visit, where it may take less than the sandbox's limit; fractions count. On
            the wall it has eight times as long, and five seconds.
    """

    code: str
    entry_point: str
    calls: tuple[Call, ...]
    cpu_seconds: float | None = None


@dataclass(frozen=True)
class Result:
    """What came of one call.

    Attributes:
        status: `value`; `raised`; `unsendable`, a value too large or too deep to be sent; `unfinished`, no reply.
        value: Builtins, and `Opaque` for anything else. None without a value.
        detail: The type of what was raised, or why the value was not sent.
    """

    status: ResultStatus
    value: Any = None
    detail: str = ""


@dataclass(frozen=True)
class Outcome:
    """What came of one candidate.

    Attributes:
        status: `done` if every call has a reply; else one of `FAILURES`, and the calls before it still have theirs.
        results: One for each call, in order.
        seconds: Wall time of the visit.
        cpu_seconds: Processor time of the candidate's process, confinement included.
        detail: What the code raised, the exit code or the signal.
    """

    status: OutcomeStatus
    results: tuple[Result, ...]
    seconds: float
    cpu_seconds: float = 0.0
    detail: str = ""


__all__ = ["FAILURES", "Call", "Candidate", "Opaque", "Outcome", "OutcomeStatus", "Result", "ResultStatus"]
