"""Writes what the trainer says into the run folder and onto the screen."""

import math
from collections.abc import Callable
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

import torch.distributed as dist
from rich.console import Console
from transformers import TrainerCallback

from spancredit.evaluation.accuracy import Exam, greedy_accuracy, sampled_accuracy
from spancredit.ranks import is_main
from spancredit.report.checkpoints import seal
from spancredit.report.figures import learning_curve, save
from spancredit.report.lines import append_lines
from spancredit.report.progress import RunProgress
from spancredit.report.records import make_record
from spancredit.report.runfolder import RunFolder, in_words
from spancredit.report.spaced import spaced
from spancredit.training.trl import CreditBatch


class Recorder(TrainerCallback):
    """A callback for metrics and held-out accuracy, and an `on_credit` observer for records.

    All processes measure accuracy together; the main one alone writes and shows.

    Args:
        exam: What accuracy is measured on before, after, and every `held_out_steps` optimizer steps.
        sampling: How its questions are sampled as well, as arguments of `generate`; None: they are not.
        records_per_step: Rollouts of each generation batch that become records, at most, evenly spaced over it.
        group: The processes, if there are several, talking on the CPU.
    """

    def __init__(
        self,
        folder: RunFolder,
        tokenizer: Any,
        exam: Exam,
        held_out_steps: int,
        sampling: dict[str, Any] | None,
        records_per_step: int,
        console: Console,
        group: dist.ProcessGroup | None,
    ):
        self.folder, self.tokenizer = folder, tokenizer
        self.exam, self.held_out_steps, self.sampling = exam, held_out_steps, sampling
        self.records_per_step = records_per_step
        self.progress = RunProgress(console)
        self.say = console.print
        self.track: Callable[[dict[str, float]], Any] = lambda _: None  # what tells the trainer's trackers
        self.group = group

    def start(self) -> None:
        """Show what a resumed run holds already, in the order in which it came."""
        metrics, held_out = self.folder.rows(self.folder.metrics), self.folder.rows(self.folder.held_out)
        exams = [(row["step"], partial(self.progress.held_out, row["step"], in_words(row))) for row in held_out]
        steps = [(row["step"], partial(self.progress.log, row)) for row in metrics]
        for _, show in sorted([*exams, *steps], key=itemgetter(0)):
            show()

    def finish(self) -> None:
        """Draw the learning curve."""
        metrics, held_out = self.folder.rows(self.folder.metrics), self.folder.rows(self.folder.held_out)
        save(learning_curve(metrics, held_out), self.folder.path / "curve.png")

    def record(self, batch: CreditBatch) -> None:
        """Observer of `CreditGRPOTrainer`."""
        rows = [
            make_record(
                batch.rollouts[i],
                batch.credits[i],
                self.tokenizer,
                batch.step + 1,
                batch.rewards[i],
                right=verdict(batch.first_rewards[i]),
            )
            for i in spaced(range(len(batch.rollouts)), self.records_per_step)
        ]
        append_lines(self.folder.records, rows)

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """The policy is where it trains only now: a run that is not resumed is measured before its first step."""
        self.progress.expect(state.max_steps)
        if state.global_step == 0:
            self._evaluate(model, 0, control)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        if is_main() and logs and "reward" in logs:
            row = {"step": state.global_step, **logs}
            append_lines(self.folder.metrics, [row])
            self.progress.log(row)

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        due = self.held_out_steps and state.global_step % self.held_out_steps == 0
        if due or state.global_step == state.max_steps:
            self._evaluate(model, state.global_step, control)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """All processes have written their files of the checkpoint: the trainer waits for them before its last one."""
        if is_main():
            seal(Path(args.output_dir) / f"checkpoint-{state.global_step}")

    def _evaluate(self, model: Any, step: int, control: Any) -> None:
        accuracy = greedy_accuracy(model, self.tokenizer, self.exam, self.group)
        low, high = accuracy.interval
        row: dict[str, Any] = {"step": step, "accuracy": accuracy.mean, "low": low, "high": high, "text": str(accuracy)}
        if self.sampling is not None:
            sampled = sampled_accuracy(model, self.tokenizer, self.exam, self.group, **self.sampling)
            row |= {"sampled": sampled.mean, "text": f"{accuracy}; sampled {sampled}"}
        if not is_main():
            return
        append_lines(self.folder.held_out, [row])
        due = control.should_log
        self.track({f"held_out/{name}": row[name] for name in ("accuracy", "sampled") if name in row})
        control.should_log = due  # of the step's own metrics: any log says that it is done
        self.progress.held_out(step, str(row["text"]))


def verdict(reward: float) -> bool | None:
    """Of the task's judge, the first reward function: 1 is right, also where parts of it give a share."""
    return None if math.isnan(reward) else reward == 1
