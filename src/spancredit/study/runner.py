"""Runs of a study, as many at a time as there are cores; each a `spancredit train` in a process of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

from spancredit.errors import RunFolderError
from spancredit.study.folder import StudyFolder
from spancredit.study.plan import Run

POLL = 0.5  # seconds
LOG = "train.log"
TRAIN, INTO = ["-m", "spancredit", "train"], "--output_dir"  # how the command of a run begins, and what ends it
PATIENCE = 30.0  # seconds in which a process that was killed has to end
LINES = 4096  # bytes of a log in which its last words are looked for


Slot = dict[str, str]  # what a run's environment has of its own: threads, a device


def slots_for(count: int | None, devices: int) -> list[Slot]:
    """Places to run at: one a device where runs use devices, else one a core that this process may use.

    Args:
        count: How many; None: as many as there are devices or cores. Beyond the devices, runs share them in turn.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    count = count or devices or cores
    threads = {} if "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": str(max(1, cores // count))}
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(devices)))).split(",")
    return [threads | ({"CUDA_VISIBLE_DEVICES": visible[i % len(visible)]} if devices else {}) for i in range(count)]


@dataclass
class Working:
    """A run that a process works on."""

    process: subprocess.Popen[bytes]
    log: IO[bytes]
    slot: Slot


Observer = Callable[[Sequence[Run], "dict[Run, Working]", "dict[Run, str]"], None]


def run_study(folder: StudyFolder, slots: Sequence[Slot], observe: Observer) -> dict[Run, str]:
    """Tuning, then, if none of it fails, the headline at the rates it chose. What is done already is not done again.

    Args:
        slots: One for each run that may be at work at a time.
        observe: Called now and then with the runs of the phase, those that are at work, and those that failed.

    Returns:
        For each run that ended in an error, its last words.

    Raises:
        RunFolderError: if what a killed study left at work cannot be ended.
    """
    end_orphans(folder.runs)
    failed = run_all(folder, folder.plan.tuning, slots, observe)
    if failed:
        return failed
    rates = folder.plan.choose(folder.accuracies(folder.plan.tuning))
    return run_all(folder, folder.plan.headline(rates), slots, observe)


def run_all(folder: StudyFolder, runs: Sequence[Run], slots: Sequence[Slot], observe: Observer) -> dict[Run, str]:
    """Work on runs in their order; the last words of those that failed. Their processes end with this one."""
    waiting = [run for run in runs if not folder.done(run)]
    free = list(slots)
    working: dict[Run, Working] = {}
    failed: dict[Run, str] = {}
    try:
        while waiting or working:
            while waiting and free:
                run = waiting.pop(0)
                working[run] = _start(folder, run, free.pop(0))
            observe(runs, working, failed)
            time.sleep(POLL)
            for run, work in list(working.items()):
                if work.process.poll() is None:
                    continue
                del working[run]
                free.append(work.slot)
                work.log.close()
                if work.process.returncode:
                    failed[run] = _last_words(folder.of(run).path / LOG, work.process.returncode)
                else:
                    folder.finish(run)
        observe(runs, working, failed)
    finally:
        for work in working.values():
            work.process.terminate()
        for work in working.values():
            work.process.wait()
            work.log.close()
    return failed


def _start(folder: StudyFolder, run: Run, slot: Slot) -> Working:
    """A run from its beginning, or from its last checkpoint."""
    place = folder.prepare(run).path
    flags = ["--resume"] if (place / "run.json").exists() else ["--config", str(place / "settings.yaml")]
    command = [sys.executable, *TRAIN, *flags, INTO, str(place)]
    log = (place / LOG).open("ab")
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **slot})
    return Working(process, log, slot)


def end_orphans(runs: Path) -> None:
    """End what still works below a folder because the study that started it was killed: its trainings, nothing else.

    Raises:
        RunFolderError: if one of them may not be ended, or does not end.
    """
    killed = {}
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if words[1 : 1 + len(TRAIN)] == TRAIN and words[-2] == INTO and Path(words[-1]).parent == runs:
            with suppress(psutil.NoSuchProcess):
                _kill(process, words[-1])
                killed[process] = words[-1]
    deadline = time.monotonic() + PATIENCE
    for process, place in killed.items():
        while not _ended(process):
            if time.monotonic() > deadline:
                raise RunFolderError(f"process {process.pid}, which works on {place}, was killed and does not end.")
            time.sleep(POLL / 10)


def _kill(process: psutil.Process, place: str) -> None:
    try:
        process.kill()
    except psutil.AccessDenied as error:
        raise RunFolderError(
            f"process {process.pid} works on {place}, and this user may not end it; expected no other training there."
        ) from error


def _ended(process: psutil.Process) -> bool:
    """Whether it is gone, or would be if its parent looked."""
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def _last_words(log: Path, status: int) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - LINES))
        lines = file.read().decode(errors="replace").strip().splitlines()
    return f"exit status {status}: {lines[-1] if lines else 'without a word'}"
