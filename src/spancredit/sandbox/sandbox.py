"""`Sandbox`: candidates in, outcomes out, over warm zygotes at the strongest level that works here."""

import math
import os
import threading
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from types import TracebackType
from typing import Literal

from spancredit.errors import SandboxError, UnknownNameError
from spancredit.sandbox.candidate import Candidate, Outcome, Result
from spancredit.sandbox.levels import LEVELS, started, strongest
from spancredit.sandbox.process import LevelName, Zygote, ZygoteDied
from spancredit.sandbox.visit import Limits, encoded_calls, visit

MIB = 1 << 20


class Sandbox:
    """Runs programs that are not trusted, and says what their calls returned. Use it as a context manager.

    It starts with `with` or `open()`. Threads may share it, and take turns for its processes.

    Args:
        level: `bubblewrap`, `landlock`, `none`, or `auto`: the first of the first two that works. `none` confines
            nothing, and is never taken unasked.
        processes: How many candidates run at a time.
        seconds: Wall time of a visit, from the fork to the last result.
        cpu_seconds: Processor time of a visit, whole seconds; None takes `seconds`, rounded up.
        memory: Bytes of address space, Python's own 40 MiB included.
        output: Bytes of results of a visit.

    Attributes:
        processes: How many candidates run at a time.
        restarts: Zygotes that died, and were started again.

    Raises:
        SandboxError: if a limit is no positive number.
        UnknownNameError: if there is no such level.
    """

    def __init__(
        self,
        level: LevelName | Literal["auto"] = "auto",
        processes: int = 1,
        seconds: float = 3.0,
        cpu_seconds: int | None = None,
        memory: int = 512 * MIB,
        output: int = 4 * MIB,
    ):
        if level not in ("auto", *LEVELS):
            raise UnknownNameError("level of the sandbox", level, ("auto", *LEVELS))
        if processes < 1:
            raise SandboxError(f"a sandbox has at least 1 process, got {processes}.")
        self.limits = Limits(seconds, math.ceil(seconds) if cpu_seconds is None else cpu_seconds, memory, output)
        self.restarts = 0
        self._asked: LevelName | Literal["auto"] = level
        self.processes = processes
        self._lock = threading.Lock()
        self._owner = 0

    def __enter__(self) -> "Sandbox":
        return self.open()

    def open(self) -> "Sandbox":
        """Start; `close` ends it. If it is never closed, its processes end with this one.

        Raises:
            SandboxError: if the level asked for does not work here, or none of them does; it says what is missing.
        """
        if self._owner:
            raise SandboxError("this sandbox is open already; make another one.")
        self._name, first, self._level = strongest(self._asked)
        self._free: SimpleQueue[Zygote | None] = SimpleQueue()
        self._free.put(first)
        for _ in range(self.processes - 1):
            self._free.put(None)  # started when it is needed
        self._pool = ThreadPoolExecutor(self.processes, thread_name_prefix="sandbox") if self.processes > 1 else None
        self._owner = os.getpid()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Wait for the candidates at work, and end every process."""
        if self._owner != os.getpid():
            return
        self._owner = 0
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        for _ in range(self.processes):
            zygote = self._free.get()
            if zygote is not None:
                zygote.close()
        self._free.put(None)  # whoever still waits finds it closed

    @property
    def level(self) -> str:
        """What confines the candidates here, as a sentence that begins with the level's name."""
        self._check_open()
        return self._level

    def run(self, candidates: Sequence[Candidate]) -> list[Outcome]:
        """Run candidates, each in a process of its own that knows nothing of the others.

        Args:
            candidates: Those with one and the same tuple of calls share its encoding.

        Returns:
            Their outcomes, in the same order.

        Raises:
            SandboxError: if an argument cannot be sent, if the sandbox is not open in this process, or if a zygote
                that died does not start again.
        """
        self._check_open()
        shared = {id(one.calls): one.calls for one in candidates}
        encoded = {key: encoded_calls(calls) for key, calls in shared.items()}
        work = [(one, encoded[id(one.calls)]) for one in candidates]
        if self._pool is None:
            return [self._outcome(*one) for one in work]
        return list(self._pool.map(lambda one: self._outcome(*one), work))

    def _check_open(self) -> None:
        if self._owner != os.getpid():
            raise SandboxError("this sandbox is not open in this process; use it within 'with Sandbox() as box:'.")

    def _outcome(self, candidate: Candidate, calls: bytes) -> Outcome:
        outcome = self._try(candidate, calls) or self._try(candidate, calls)
        return outcome or Outcome("lost", (Result("unfinished"),) * len(candidate.calls), 0.0)

    def _try(self, candidate: Candidate, calls: bytes) -> Outcome | None:
        """One visit; None if the zygote died. Whatever interrupts it, that zygote serves no other candidate."""
        zygote = self._free.get()
        whole = False
        try:
            self._check_open()
            zygote = zygote or started(self._name)
            outcome = visit(zygote, candidate, calls, self.limits)
            whole = True
        except ZygoteDied as death:
            self._count(death)
            return None
        finally:
            if zygote is not None and not whole:
                zygote.close()
            self._free.put(zygote if whole else None)
        return outcome

    def _count(self, death: ZygoteDied) -> None:
        with self._lock:
            self.restarts += 1
            if self.restarts == 1:
                message = (
                    f"spancredit: a process of the sandbox died ({death}) and is started again; the candidate it held "
                    "runs once more. Further ones are counted in Sandbox.restarts only."
                )
                warnings.warn(message, stacklevel=2)
