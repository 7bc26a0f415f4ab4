"""Which level works here, tried by doing: a probe in a zygote must fail at everything that is forbidden."""

from typing import Literal

from spancredit.errors import SandboxError
from spancredit.sandbox.candidate import Call, Candidate
from spancredit.sandbox.process import LevelName, Zygote, ZygoteDied
from spancredit.sandbox.visit import Limits, encoded_calls, visit

LEVELS: tuple[LevelName, ...] = ("bubblewrap", "landlock", "none")

PROBE = Candidate(
    """
import os, socket

def trials():
    yield "list /", lambda: os.listdir("/")
    yield "open a socket", socket.socket
    yield "signal its parent", lambda: os.kill(os.getppid(), 0)
    yield "write a file", lambda: os.open("/tmp/spancredit-probe", os.O_CREAT | os.O_WRONLY)
    yield "fork", lambda: os.fork() or os._exit(0)

def probe():
    succeeded = []
    for name, attempt in trials():
        try:
            attempt()
        except OSError:
            continue
        succeeded.append(name)
    return succeeded
""",
    "probe",
    (Call(),),
)
_LIMITS = Limits(seconds=30.0, cpu_seconds=10, memory=1 << 29, output=1 << 16)


def strongest(asked: LevelName | Literal["auto"]) -> tuple[LevelName, Zygote, str]:
    """The level that works, its first zygote, and a sentence on it.

    Raises:
        SandboxError: if none does; it says why.
    """
    failures: dict[str, str] = {}
    for name in LEVELS[:2] if asked == "auto" else (asked,):
        try:
            zygote = started(name)
        except SandboxError as error:
            failures[name] = str(error)
        else:
            return name, zygote, _sentence(name, zygote.landlock, failures)
    reasons = "; ".join(f"{name}: {reason}" for name, reason in failures.items())
    raise SandboxError(f"untrusted code cannot be confined here ({reasons}). See docs/sandbox.md for what is needed.")


def started(name: LevelName) -> Zygote:
    """A zygote at this level whose confinement was tried.

    Raises:
        SandboxError: if it does not start, or its probe could do what is forbidden.
    """
    zygote = Zygote(name)
    try:
        if name != "none":
            _check(zygote)
    except BaseException:
        zygote.close()
        raise
    return zygote


def _check(zygote: Zygote) -> None:
    try:
        outcome = visit(zygote, PROBE, encoded_calls(PROBE.calls), _LIMITS)
    except ZygoteDied as death:
        raise SandboxError(f"its process died at once: {death}") from death
    (result,) = outcome.results
    if outcome.status != "done" or result.value is None:
        raise SandboxError(f"a probe did not end as it should: {outcome.status} {outcome.detail} {result.detail}")
    if result.value != []:
        raise SandboxError(f"a probe inside could {' and '.join(result.value)}")


def _sentence(name: LevelName, landlock: int, failures: dict[str, str]) -> str:
    if name == "none":
        return "none: candidates run unconfined, with the rights of this process; only limits and deadlines hold."
    namespaces = "namespaces of bubblewrap, " if name == "bubblewrap" else ""
    absent = "".join(f" ({other} does not work here: {reason})" for other, reason in failures.items())
    return f"{name}: {namespaces}Landlock (ABI {landlock}), seccomp and resource limits{absent}."
