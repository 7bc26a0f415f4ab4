"""`spancredit train`: the main job. Rollouts, credit, DAPO updates, and a run folder that shows what happened."""

import json
import logging
import math
import warnings
from itertools import islice
from pathlib import Path
from typing import Any

from datasets import Dataset
from rich.console import Console
from transformers import PrinterCallback, TrainerCallback
from transformers.utils import logging as transformers_logging
from trl import get_peft_config

from spancredit.commands.train_arguments import option, parse
from spancredit.errors import ConfigError
from spancredit.models import load_policy
from spancredit.report.figures import learning_curve
from spancredit.report.progress import RunProgress
from spancredit.report.records import append_lines, make_record
from spancredit.report.runfolder import RunFolder, latest, step_of, unused
from spancredit.tasks import wordproblems
from spancredit.tasks.evaluate import greedy_accuracy
from spancredit.training.trl import CreditBatch, CreditGRPOConfig, CreditGRPOTrainer

RUNS = Path("runs")


def train(argv: list[str], console: Console | None = None) -> RunFolder:
    """Run the job that the command line asks for, to its end; with `--resume`, from its last checkpoint."""
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers|trl")
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    logging.getLogger("trl").setLevel(logging.ERROR)
    resumed = _to_resume(argv)
    if resumed is not None:
        argv = [*resumed.arguments(), *argv]
    task, arguments, model = parse(argv)
    _check_resumable(arguments)
    policy, tokenizer = load_policy(model.model_name_or_path, model.dtype or "auto")
    folder = resumed or _new_folder(argv, task.task, arguments)
    checkpoint = resumed.last_checkpoint() if resumed else None
    arguments.output_dir = str(folder.path)
    arguments.disable_tqdm = True

    draw = {split: wordproblems.problems(split, arguments.seed, task.difficulty) for split in ("train", "held_out")}
    held_out = list(islice(draw["held_out"], task.held_out_problems))
    rows = [problem.row() for problem in islice(draw["train"], task.train_problems)]
    recorder = _Recorder(folder, tokenizer, held_out, task.held_out_steps, task.records_per_step, console)
    trainer = CreditGRPOTrainer(
        policy,
        wordproblems.reward,
        arguments,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=get_peft_config(model),
        callbacks=[recorder],
        on_credit=recorder.record,
    )
    trainer.remove_callback(PrinterCallback)
    folder.rewind(step_of(checkpoint) if checkpoint else -1)
    (folder.path / "config.json").write_text(json.dumps(trainer.args.to_dict(), indent=2, default=str) + "\n")
    recorder.run(trainer, checkpoint)
    trainer.save_model(str(folder.path / "model"))
    return folder


def _to_resume(argv: list[str]) -> RunFolder | None:
    """With `--resume`, the run in `--output_dir`, or the one started last."""
    if "--resume" not in argv:
        return None
    given = option(argv, "--output_dir")
    return RunFolder.reopen(Path(given) if given else latest(RUNS))


def _new_folder(argv: list[str], task: str, arguments: CreditGRPOConfig) -> RunFolder:
    name = f"{task}-{arguments.credit.mode}-seed{arguments.seed}"
    path = Path(arguments.output_dir) if option(argv, "--output_dir") else unused(RUNS / name)
    config = option(argv, "--config")
    flags = [part for part in argv if part not in ("--config", config)]
    return RunFolder.create(path, flags, Path(config).read_text() if config else None)


def _check_resumable(arguments: CreditGRPOConfig) -> None:
    """A checkpoint between two uses of one generation batch would lose that batch, and the trajectory with it."""
    shared = arguments.steps_per_generation * arguments.num_iterations // arguments.gradient_accumulation_steps
    if arguments.save_strategy == "steps" and shared > 1 and arguments.save_steps % shared:
        raise ConfigError(
            f"save_steps is {arguments.save_steps}; expected a multiple of {shared}, the optimizer steps that share "
            "one generation batch, so that a resumed run continues the same trajectory."
        )


class _Recorder(TrainerCallback):
    """Writes what the trainer says into the run folder and onto the screen."""

    def __init__(
        self,
        folder: RunFolder,
        tokenizer: Any,
        held_out: list[wordproblems.Problem],
        held_out_steps: int,
        records_per_step: int,
        console: Console | None,
    ):
        self.folder, self.tokenizer, self.held_out = folder, tokenizer, held_out
        self.held_out_steps, self.records_per_step = held_out_steps, records_per_step
        self.console = console or Console()

    def run(self, trainer: CreditGRPOTrainer, checkpoint: Path | None) -> None:
        """Train with a live display; afterwards the learning curve and a summary."""
        self.progress = RunProgress(trainer.args.max_steps, self.console)
        for row in self.folder.rows(self.folder.metrics):
            self.progress.log(row)
        for row in self.folder.rows(self.folder.held_out):
            self.progress.held_out(row["step"], row["text"])
        with self.progress.running():
            if checkpoint is None:
                self._evaluate(trainer.model, 0)
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        metrics, held_out = self.folder.rows(self.folder.metrics), self.folder.rows(self.folder.held_out)
        learning_curve(metrics, held_out, self.folder.path / "curve.png")

    def record(self, batch: CreditBatch) -> None:
        """Observer of `CreditGRPOTrainer`: an even sample of the batch goes into records.jsonl."""
        size = len(batch.rollouts)
        chosen = (
            range(size) if size <= self.records_per_step else range(0, size, math.ceil(size / self.records_per_step))
        )
        rows = [
            make_record(batch.rollouts[i], batch.credits[i], self.tokenizer, batch.step + 1, batch.rewards[i])
            for i in chosen
        ]
        append_lines(self.folder.records, rows)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        if logs and "reward" in logs:
            row = {"step": state.global_step, **logs}
            append_lines(self.folder.metrics, [row])
            self.progress.log(row)

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        due = self.held_out_steps and state.global_step % self.held_out_steps == 0
        if due or state.global_step == state.max_steps:
            self._evaluate(model, state.global_step)

    def _evaluate(self, model: Any, step: int) -> None:
        accuracy = greedy_accuracy(model, self.tokenizer, self.held_out)
        low, high = accuracy.interval
        row = {"step": step, "accuracy": accuracy.mean, "low": low, "high": high, "text": str(accuracy)}
        append_lines(self.folder.held_out, [row])
        self.progress.held_out(step, str(accuracy))
