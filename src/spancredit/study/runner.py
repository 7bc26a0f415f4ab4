"""Runs of a study, as many at a time as there are cores; each a `spancredit train` in a process of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

from spancredit.study.folder import StudyFolder, write
from spancredit.study.plan import Rates, Run

POLL = 0.5  # seconds
LOG, PID = "train.log", "pid"
LINES = 4096  # bytes of a log in which its last words are looked for


@dataclass
class Working:
    """A run that a process works on."""

    process: subprocess.Popen[bytes]
    log: IO[bytes]
    started: float


@dataclass(frozen=True)
class Outcome:
    """What became of a study's runs.

    Args:
        failed: For each run that ended in an error, its last words.
    """

    rates: Rates
    failed: dict[Run, str]


Observer = Callable[[Sequence[Run], "dict[Run, Working]", "dict[Run, str]"], None]


def run_study(folder: StudyFolder, processes: int, observe: Observer) -> Outcome:
    """Tuning, then the headline at the rates it chose. What is done already is not done again.

    Args:
        observe: Called now and then with the runs of the phase, those that are at work, and those that failed.

    Raises:
        RunFolderError: if another process works on the study.
    """
    with folder.lock():
        failed = run_all(folder, folder.plan.tuning, processes, observe)
        rates = folder.plan.choose(folder.accuracies(folder.plan.tuning))
        failed |= run_all(folder, folder.plan.headline(rates), processes, observe)
        return Outcome(rates, failed)


def run_all(folder: StudyFolder, runs: Sequence[Run], processes: int, observe: Observer) -> dict[Run, str]:
    """Work on runs in their order; the last words of those that failed. Processes end with this one."""
    waiting = [run for run in runs if not folder.done(run)]
    working: dict[Run, Working] = {}
    failed: dict[Run, str] = {}
    try:
        while waiting or working:
            while waiting and len(working) < processes:
                run = waiting.pop(0)
                working[run] = _start(folder, run, processes)
            observe(runs, working, failed)
            time.sleep(POLL)
            for run, work in list(working.items()):
                if work.process.poll() is None:
                    continue
                del working[run]
                work.log.close()
                if work.process.returncode:
                    failed[run] = _last_words(folder.of(run).path / LOG, work.process.returncode)
                else:
                    folder.finish(run, time.monotonic() - work.started)
        observe(runs, working, failed)
    finally:
        for work in working.values():
            work.process.terminate()
        for work in working.values():
            work.process.wait()
            work.log.close()
    return failed


def _start(folder: StudyFolder, run: Run, processes: int) -> Working:
    """A run from its beginning, or from its last checkpoint."""
    place = folder.prepare(run).path
    _end_orphan(place)
    begun = (place / "run.json").exists()
    flags = ["--resume"] if begun else ["--config", str(place / "settings.yaml")]
    command = [sys.executable, "-m", "spancredit", "train", *flags, "--output_dir", str(place)]
    threads = str(max(1, (os.cpu_count() or 1) // processes))
    log = (place / LOG).open("ab")
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={"OMP_NUM_THREADS": threads, **os.environ}
    )
    write(place / PID, f"{process.pid}\n")
    return Working(process, log, time.monotonic())


def _end_orphan(place: Path) -> None:
    """End the process that still works on a run because the study that started it was killed."""
    if not (place / PID).exists():
        return
    try:
        process = psutil.Process(int((place / PID).read_text()))
        if str(place) in process.cmdline():
            process.kill()
            process.wait()
    except psutil.NoSuchProcess:
        pass


def _last_words(log: Path, status: int) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - LINES))
        lines = file.read().decode(errors="replace").strip().splitlines()
    return f"exit status {status}: {lines[-1] if lines else 'without a word'}"
