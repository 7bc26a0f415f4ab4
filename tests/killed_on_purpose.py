"""`spancredit train` that is killed in a phase of a step: what `test_faults.py` starts in processes of their own.

Every phase is a function that training calls; it is replaced by one that ends the process, as `kill -9` does: before
it does anything, or, where it writes a file, when half of that is on the disk, or, where it removes a folder, when the
first file of that is gone.
"""

import os
import shutil
import signal
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import torch
from transformers import modeling_utils

from spancredit.commands import recorder
from spancredit.commands import train as command
from spancredit.training import trl
from spancredit.training.trl import CreditGRPOTrainer


def before(*_: Any, **__: Any) -> None:
    """Of a phase nothing is done."""


def half(write: Callable[..., Any], path: Path, *args: Any, **named: Any) -> None:
    """Of what it writes, half."""
    size = path.stat().st_size if path.exists() else 0
    write(*args, **named)
    os.truncate(path, size + (path.stat().st_size - size) // 2)


def begun(_: Callable[..., Any], path: Path, *args: Any, **named: Any) -> None:
    """Of a checkpoint, the weights are gone, and all that says it is whole is there."""
    (path / "model.safetensors").unlink()


@dataclass(frozen=True)
class Phase:
    """Whose attribute it is, its name, which of its calls is the last, and how much of that is done.

    Args:
        file: The end of the path that is written or removed; other calls do not count.
    """

    owner: Any
    name: str
    call: int
    done: Callable[..., None] = before
    file: str = ""


PHASES = {
    "generation": Phase(CreditGRPOTrainer, "_generate", 2),
    "rewards": Phase(CreditGRPOTrainer, "_calculate_rewards", 2),
    "credit": Phase(trl, "assign_credit", 2),
    "records": Phase(recorder, "append_lines", 2, half, "records.jsonl"),
    "loss and backward": Phase(CreditGRPOTrainer, "training_step", 2),
    "the optimizer's step": Phase(torch.optim.AdamW, "step", 2),
    "held-out accuracy": Phase(recorder, "greedy_accuracy", 2),
    "the checkpoint's weights": Phase(modeling_utils, "safe_save_file", 1, half, "checkpoint-2/model.safetensors"),
    "the checkpoint's optimizer": Phase(torch, "save", 1, half, "checkpoint-4/optimizer.pt"),
    "the checkpoint's random state": Phase(torch, "save", 1, half, "checkpoint-4/rng_state.pth"),
    "the checkpoint's seal": Phase(recorder, "seal", 1, before, "checkpoint-4"),
    "the old checkpoint's removal": Phase(shutil, "rmtree", 1, begun, "checkpoint-2"),
    "the trained model": Phase(modeling_utils, "safe_save_file", 1, half, "model/model.safetensors"),
}


def killing(function: Callable[..., Any], phase: Phase) -> Callable[..., Any]:
    """The function, until the phase."""
    calls = 0

    @wraps(function)
    def counted(*args: Any, **named: Any) -> Any:
        nonlocal calls
        path = next((Path(one) for one in args if isinstance(one, str | Path)), Path())
        calls += not phase.file or path.as_posix().endswith(phase.file)
        if calls == phase.call:
            phase.done(function, path, *args, **named)
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **named)

    return counted


def killed_in(name: str, argv: list[str]) -> None:
    """Train until the phase."""
    phase = PHASES[name]
    setattr(phase.owner, phase.name, killing(getattr(phase.owner, phase.name), phase))
    trained(argv)


def trained(argv: list[str]) -> None:
    torch.set_num_threads(1)
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        command.train(argv)
