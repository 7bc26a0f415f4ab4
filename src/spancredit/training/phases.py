"""Where a step's seconds go, and which seconds are no step's."""

import time
from typing import Any

import torch
from transformers import TrainerCallback

PHASES = ("generation", "credit", "step_advantages")  # the rest of a step is the loss, its backward and the update


class Phases(TrainerCallback):
    """After each optimizer step: the seconds of its phases, and their shares of the step's time.

    From the end of one step's update to the beginning of the next step nothing is trained: callbacks measure accuracy
    there, and the trainer logs, evaluates and saves. A budget is no share of that, so the trainer's pace is paused.
    """

    def __init__(self, trainer: Any):
        self.trainer = trainer

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.trainer._pace.resume(time.perf_counter())

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if args.credit_budget and self.trainer.accelerator.device.type != "cpu":
            torch.accelerator.synchronize()  # else what comes next would wait for the rest of the step
        self.trainer._pace.pause(time.perf_counter())

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        metrics = self.trainer._metrics["train"]
        for phase, seconds in self.trainer._seconds.items():
            metrics[f"{phase}/seconds"].append(seconds)
            if metrics["step_time"]:  # empty where another callback has just logged
                metrics[f"{phase}/time_share"].append(seconds / metrics["step_time"][-1])
            self.trainer._seconds[phase] = 0.0
