"""`spancredit train`: the main job. Rollouts, credit, DAPO updates, and a run folder that shows what happened."""

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from datasets import Dataset
from rich.console import Console
from rich.text import Text
from transformers import PrinterCallback, Trainer

from spancredit.commands.checked import most_tokens, parse_checked
from spancredit.commands.distribution import check_launch, load_trained, save_whole, weights_held
from spancredit.commands.prepare import prepare
from spancredit.commands.quiet import quiet
from spancredit.commands.recorder import Recorder
from spancredit.commands.refused import taken_back
from spancredit.commands.train_arguments import Request, read_request
from spancredit.evaluation.accuracy import Exam
from spancredit.ranks import agreed, is_main, once, part, talking
from spancredit.report.checkpoints import last_readable, make_way, step_of
from spancredit.report.lines import write
from spancredit.report.lock import locked
from spancredit.report.runfolder import RunFolder, latest, unused
from spancredit.report.visible import visible
from spancredit.tasks.task import HELD_OUT
from spancredit.training.trl import CreditGRPOConfig, CreditGRPOTrainer

RUNS = Path("runs")


def train(argv: list[str], console: Console | None = None, begun: Callable[[Path], Any] = lambda _: None) -> RunFolder:
    """Run the job that the command line asks for, to its end; with `--resume`, from its last checkpoint.

    Every process of a launcher calls it; the main one alone writes the run folder and shows it.

    Args:
        begun: Told the run's folder as soon as there is one.
    """
    quiet()
    request = read_request(argv)
    resumed = RunFolder.reopen(request.output_dir or latest(RUNS)) if request.resume else None
    asked, arguments, model = parse_checked(*(resumed.request() if resumed else (request.config, request.flags)))
    check_launch(arguments)
    if resumed is not None:
        resumed.check_launch(arguments.world_size, weights_held(arguments))
    given = prepare(asked, arguments, model)
    exam = Exam(
        given.task.questions("held_out", asked.held_out_problems or HELD_OUT),
        given.task.reward,
        most_tokens(arguments),
        asked.held_out_batch,
    )
    group = talking()
    with ExitStack() as held:
        folder, checkpoint = once(partial(_run, request, resumed, asked.task, arguments, held), group)
        begun(folder.path)
        agreed(folder.check_seen, group)
        arguments.output_dir = str(folder.path)
        arguments.disable_tqdm = True

        recorder = Recorder(
            folder,
            given.tokenizer,
            exam,
            asked.held_out_steps,
            _sampling(arguments) if asked.held_out_sampled else None,
            asked.records_per_step,
            console or Console(),
            group,
        )
        if resumed is not None and checkpoint is None:
            said = f"{folder.path} has no checkpoint that can be read: it starts over, with no row kept"
            recorder.say(Text(visible(said)))
        with taken_back(folder.path, request.config, made=resumed is None):
            trainer = CreditGRPOTrainer(
                given.policy,
                given.rewards,
                arguments,
                train_dataset=Dataset.from_list(given.rows),
                processing_class=given.tokenizer,
                peft_config=given.peft_config,
                **given.functions,
                callbacks=[recorder],
                on_credit=recorder.record,
            )
        trainer.remove_callback(PrinterCallback)
        recorder.track = partial(Trainer.log, trainer)  # TRL's own would log what the step has measured so far
        outcome = {"outcome": asked.measured_outcome}
        settings = {**asdict(asked), **outcome, **trainer.args.to_dict(), **asdict(model)}
        once(partial(_begin, folder, checkpoint, settings), group)
        if arguments.world_size > 1:
            recorder.say(_batch_in_words(arguments))
        with recorder.progress.running():
            recorder.start()
            if checkpoint is not None and folder.trained_to_the_end(checkpoint):
                recorder.say(Text(visible(f"{folder.path} is trained to its end: what comes after is written again")))
                load_trained(trainer, checkpoint)
            else:
                trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        save_whole(trainer, folder.path / "model")
        if is_main():
            recorder.finish()
        part(group)
    return folder


def _batch_in_words(arguments: CreditGRPOConfig) -> str:
    own, steps = arguments.per_device_train_batch_size, arguments.gradient_accumulation_steps
    count = arguments.world_size
    return f"{count} processes x {own} x {steps} = {count * own * steps} completions a step"


def _sampling(arguments: CreditGRPOConfig) -> dict[str, Any]:
    """How training samples, for `generate`."""
    names = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")
    return {name: getattr(arguments, name) for name in names} | (arguments.generation_kwargs or {})


def _run(
    request: Request, resumed: RunFolder | None, task: str, arguments: CreditGRPOConfig, held: ExitStack
) -> tuple[RunFolder, Path | None]:
    """The run folder, which no other process works on while it is held, and the checkpoint to continue from."""
    if resumed is not None:
        held.enter_context(locked(resumed.path, "run"))
        checkpoint = last_readable(resumed.path)
        if checkpoint is None:
            resumed.check_unfinished()
        return resumed, checkpoint
    path = request.output_dir or unused(RUNS / f"{task}-{arguments.credit.mode}-seed{arguments.seed}")
    launch = arguments.world_size, weights_held(arguments)
    RunFolder.check_free(path)
    held.enter_context(locked(path, "run"))
    return RunFolder.create(path, request.flags, request.config, arguments.seed, *launch), None


def _begin(folder: RunFolder, checkpoint: Path | None, settings: dict[str, Any]) -> None:
    """What is written before the first step; what a resumed run will write again is forgotten."""
    write(folder.path / "config.json", json.dumps(settings, indent=2, default=str) + "\n")
    last = step_of(checkpoint) if checkpoint else -1
    folder.rewind(last)
    make_way(folder.path, last)
