"""Where a step's seconds go."""

from typing import Any

from transformers import TrainerCallback

PHASES = ("generation", "credit", "step_advantages")  # the rest of a step is the loss, its backward and the update


class Phases(TrainerCallback):
    """After each optimizer step: the seconds of its phases, and their shares of the step's time."""

    def __init__(self, trainer: Any):
        self.trainer = trainer

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        metrics = self.trainer._metrics["train"]
        for phase, seconds in self.trainer._seconds.items():
            metrics[f"{phase}/seconds"].append(seconds)
            if metrics["step_time"]:  # empty where another callback has just logged
                metrics[f"{phase}/time_share"].append(seconds / metrics["step_time"][-1])
            self.trainer._seconds[phase] = 0.0
