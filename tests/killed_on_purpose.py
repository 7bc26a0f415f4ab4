"""`spancredit train` that is killed in a phase of a step: what `test_faults.py` starts in processes of their own.

Every phase is a function that training calls; it is replaced by one that ends the process, as `kill -9` does, at the
second step: before the phase does anything, or, where a file is written, when half of it is.
"""

import os
import signal
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from functools import wraps
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer

from spancredit.commands import recorder
from spancredit.commands import train as command
from spancredit.training import trl
from spancredit.training.trl import CreditGRPOTrainer

PHASES: dict[str, tuple[Any, str, int]] = {  # whose attribute it is, its name, and which of its calls is the last
    "generation": (CreditGRPOTrainer, "_generate", 2),
    "rewards": (CreditGRPOTrainer, "_calculate_rewards", 2),
    "credit": (trl, "assign_credit", 2),
    "records": (recorder, "append_lines", 5),
    "loss and backward": (CreditGRPOTrainer, "training_step", 2),
    "the optimizer's step": (torch.optim.AdamW, "step", 2),
    "held-out accuracy": (recorder, "greedy_accuracy", 2),
    "the checkpoint's weights": (CreditGRPOTrainer, "_save", 1),
    "the checkpoint's optimizer": (CreditGRPOTrainer, "_save_optimizer_and_scheduler", 1),
    "the checkpoint's random state": (CreditGRPOTrainer, "_save_rng_state", 1),
    "the old checkpoint's removal": (Trainer, "_save_checkpoint", 2),
    "the trained model": (command, "save_whole", 1),
}


def killing(function: Callable[..., Any], call: int) -> Callable[..., Any]:
    """The function, until that call of it."""
    calls = 0

    @wraps(function)
    def counted(*args: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            if function is append_lines:
                path, rows = args
                append_lines(path, rows)
                os.truncate(path, path.stat().st_size - 20)
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **named)

    return counted


append_lines = recorder.append_lines


def killed_in(phase: str, argv: list[str]) -> None:
    """Train until the phase."""
    owner, name, call = PHASES[phase]
    setattr(owner, name, killing(getattr(owner, name), call))
    trained(argv)


def trained(argv: list[str]) -> None:
    torch.set_num_threads(1)
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        command.train(argv)


def half_written(path: Path) -> None:
    """What a crash of the machine can leave of a file."""
    os.truncate(path, path.stat().st_size // 2)
