"""Checkpoints of a run: sealed once they are written, and the newest that still holds what was written."""

import hashlib
import json
import re
import shutil
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from spancredit.report.lines import is_json, write

STATE = "trainer_state.json"  # the last file of a checkpoint that the trainer writes, on any process
SEAL = "checksums.json"  # the last of all: every other file with its size and its SHA-256
NAME = re.compile(r"checkpoint-\d+")
SPOILT = "spoilt-"  # before the name of one that is left out
INDEX = "model.safetensors.index.json"
WEIGHTS = ("model.safetensors", "adapter_model.safetensors", INDEX)
BESIDE = ("optimizer.pt", "scheduler.pt", "rng_state*.pth")
IN_PARTS = ("global_step*", "optimizer.bin", "optimizer_*", "pytorch_model_fsdp*")  # of DeepSpeed and FSDP
# What reading a zip archive of which any byte may be wrong raises.
NO_ARCHIVE = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError, LookupError)


def seal(checkpoint: Path) -> None:
    """Note what a complete checkpoint holds, so that `last_readable` can tell if it still does."""
    files = _files(checkpoint)
    rows = [
        {"name": name, "size": path.stat().st_size, "sha256": digest}
        for (name, path), digest in zip(files.items(), _digests(list(files.values())), strict=True)
    ]
    write(checkpoint / SEAL, json.dumps({"files": rows}, indent=1) + "\n")


def last_readable(run: Path) -> Path | None:
    """The newest complete checkpoint of a run's folder; a newer one that is spoilt is left out, with a warning."""
    complete = [path for path in run.iterdir() if NAME.fullmatch(path.name) and _is_complete(path)]
    for checkpoint in sorted(complete, key=step_of, reverse=True):
        fault = fault_of(checkpoint)
        if fault is None:
            return checkpoint
        warnings.warn(f"spancredit: {checkpoint} is left out, since {fault}.", stacklevel=2)
    return None


def make_way(run: Path, step: int) -> None:
    """Leave no checkpoint of a later step where a run writes its own.

    To a trainer that keeps few it would be the newest, and what is written now would be removed. One that was complete
    once is kept under another name; others are removed.
    """
    later = [path for path in run.iterdir() if NAME.fullmatch(path.name) and path.is_dir() and step_of(path) > step]
    for checkpoint in later:
        if _is_complete(checkpoint):
            names = (f"{SPOILT}{checkpoint.name}{more}" for more in ("", *(f"-{n}" for n in range(2, 10_000))))
            checkpoint.rename(next(run / name for name in names if not (run / name).exists()))
        else:
            shutil.rmtree(checkpoint)


def fault_of(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint, in words; None if nothing is.

    A sealed one has to hold every byte that it was sealed with. One without a seal (of an older version, or the run
    was killed before it) has to hold the files that a run resumes from, each whole as far as it says itself: of
    weights that is their size and layout, of all else every byte.
    """
    faults = _broken_seal(checkpoint) if (checkpoint / SEAL).exists() else _inconsistent(checkpoint)
    return next(faults, None)


def step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def _is_complete(checkpoint: Path) -> bool:
    return checkpoint.is_dir() and ((checkpoint / SEAL).exists() or is_json(checkpoint / STATE))


def _files(checkpoint: Path) -> dict[str, Path]:
    found = {path.relative_to(checkpoint).as_posix(): path for path in sorted(checkpoint.rglob("*")) if path.is_file()}
    return {name: path for name, path in found.items() if name != SEAL}


def _broken_seal(checkpoint: Path) -> Iterator[str]:
    sealed, files = _sealed(checkpoint / SEAL), _files(checkpoint)
    if sealed is None:
        yield _spoilt(SEAL)
        return
    for name, (size, _) in sealed.items():
        if name not in files:
            yield f"{name} is missing"
        elif files[name].stat().st_size != size:
            yield _spoilt(name)
    digests = _digests([files[name] for name in sealed])
    yield from (
        _spoilt(name) for (name, (_, digest)), found in zip(sealed.items(), digests, strict=True) if found != digest
    )


def _sealed(path: Path) -> dict[str, tuple[int, str]] | None:
    """Sizes and digests by name; None if the seal says none."""
    try:
        rows: Any = json.loads(path.read_text(encoding="utf-8"))["files"]
        return {str(row["name"]): (row["size"], row["sha256"]) for row in rows}
    except (ValueError, TypeError, LookupError, RecursionError):
        return None


def _inconsistent(checkpoint: Path) -> Iterator[str]:
    checks = {".safetensors": is_safetensors, ".json": is_json, ".pt": _is_archive, ".pth": _is_archive}
    yield from (f"{name} is missing" for name in _absent(checkpoint))
    for name, path in _files(checkpoint).items():
        if path.suffix in checks and not checks[path.suffix](path):
            yield _spoilt(name)


def _absent(checkpoint: Path) -> Iterator[str]:
    """What whole weights resume from; parts of them have names of their launcher's."""
    if any(any(checkpoint.glob(pattern)) for pattern in IN_PARTS):
        return
    if not any((checkpoint / name).exists() for name in WEIGHTS):
        yield WEIGHTS[0]
    if (checkpoint / INDEX).exists():
        yield from (name for name in _shards(checkpoint / INDEX) if not (checkpoint / name).exists())
    yield from (pattern.replace("*", "") for pattern in BESIDE if not any(checkpoint.glob(pattern)))


def _shards(index: Path) -> list[str]:
    try:
        return sorted({str(name) for name in json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()})
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return [f"the weight_map of {INDEX}"]


def _spoilt(name: str) -> str:
    return f"{name} is cut off or overwritten"


def _digests(paths: Sequence[Path]) -> list[str]:
    """Several at a time: hashing lets other threads work."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(_digest, paths))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_archive(path: Path) -> bool:
    """Whether a file is what torch saves: a zip archive, with a checksum for each of its parts."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except NO_ARCHIVE:
        return False


def is_safetensors(path: Path) -> bool:
    """Whether a file is as long as its own list of tensors says."""
    try:
        with safe_open(path, framework="pt") as file:
            file.keys()
    except SafetensorError:
        return False
    return True
