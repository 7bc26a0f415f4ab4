"""Checkpoints of a run: the newest that is complete and can be read."""

import warnings
import zipfile
from pathlib import Path

from safetensors import SafetensorError, safe_open

from spancredit.report.lines import is_json

STATE = "trainer_state.json"  # the last file of a checkpoint that is written, on any process


def last_readable(run: Path) -> Path | None:
    """The newest complete checkpoint of a run's folder; a newer one that cannot be read is left out, with a warning."""
    complete = [path.parent for path in run.glob(f"checkpoint-*/{STATE}") if is_json(path)]
    for checkpoint in sorted(complete, key=step_of, reverse=True):
        broken = unreadable(checkpoint)
        if broken is None:
            return checkpoint
        warnings.warn(f"spancredit: {checkpoint} is left out, since {broken} is cut off or overwritten.", stacklevel=2)
    return None


def unreadable(checkpoint: Path) -> str | None:
    """The first file of a checkpoint that is not what its name says, by its directory of contents; None if all are."""
    checks = {".safetensors": _is_safetensors, ".json": is_json, ".pt": zipfile.is_zipfile, ".pth": zipfile.is_zipfile}
    for path in sorted(checkpoint.rglob("*")):
        if path.suffix in checks and path.is_file() and not checks[path.suffix](path):
            return str(path.relative_to(checkpoint))
    return None


def step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def _is_safetensors(path: Path) -> bool:
    try:
        with safe_open(path, framework="pt") as file:
            file.keys()
    except SafetensorError:
        return False
    return True
