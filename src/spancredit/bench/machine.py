"""What was measured on: the hardware, and the versions of what ran."""

import os
import platform
from pathlib import Path
from typing import Any

import torch

from spancredit.report.versions import versions


def machine(device: str) -> dict[str, Any]:
    """Processor, threads, accelerator, versions."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name() if device == "cuda" else None,
        "versions": versions(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()
