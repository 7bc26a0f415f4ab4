"""Seconds and bytes of what is measured."""

import ctypes
import gc
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from spancredit.bench.contestants import Contestant

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
HIGH_WATER = "5"  # what resets the high-water mark of the resident set


def timed(contestant: Contestant, device: str) -> float:
    """Seconds of one run, its work on the device included."""
    _wait(device)
    started = time.perf_counter()
    contestant()
    _wait(device)
    return time.perf_counter() - started


def rounds(
    contestants: Mapping[str, Contestant], repeats: int, device: str, note: Callable[[str], Any] = lambda _: None
) -> dict[str, list[float]]:
    """Seconds of every run: in each round every contestant once, so that what else the machine does hits all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for nth in range(repeats):
        note(f"round {nth + 1} of {repeats}")
        gc.collect()
        for name, contestant in contestants.items():
            seconds[name].append(timed(contestant, device))
    return seconds


def ratios(seconds: Mapping[str, list[float]], unit: str) -> dict[str, float]:
    """Median of each over the median of `unit`."""
    return {name: statistics.median(runs) / statistics.median(seconds[unit]) for name, runs in seconds.items()}


def peak_bytes(contestant: Contestant, device: str) -> int | None:
    """Bytes that one run takes at most beyond what was there before; None where the machine does not say.

    On CUDA what PyTorch has allocated. On Linux the high-water mark of the process's resident set, reset beforehand,
    after memory that earlier runs have freed is given back.
    """
    peak = Peak(device)
    contestant()
    return peak.bytes()


class Peak:
    """The same for whatever happens from here until `bytes` is called."""

    def __init__(self, device: str):
        gc.collect()
        self._device = device
        self._before: int | None
        if device == "cuda":
            _wait(device)
            torch.cuda.reset_peak_memory_stats()
            self._before = torch.cuda.memory_allocated()
            return
        try:
            ctypes.CDLL(None).malloc_trim(0)
            RESET.write_text(HIGH_WATER)
            self._before = _status("VmRSS")
        except (OSError, AttributeError, KeyError):
            self._before = None

    def bytes(self) -> int | None:
        if self._before is None:
            return None
        _wait(self._device)
        peak = torch.cuda.max_memory_allocated() if self._device == "cuda" else _status("VmHWM")
        return max(0, peak - self._before)


def free_bytes(device: str) -> int | None:
    """Memory that is free now, in bytes; None where the machine does not say."""
    if device == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return None


def _status(name: str) -> int:
    """Bytes, by a name of /proc/self/status."""
    fields = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
    return int(fields[name].split()[0]) * 1024


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
