"""`spancredit train`: the main job. Rollouts, credit, DAPO updates, and a run folder that shows what happened."""

import json
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from accelerate.utils import is_peft_model
from datasets import Dataset
from rich.console import Console
from transformers import PrinterCallback
from transformers.utils import is_peft_available
from trl import ModelConfig, get_peft_config, get_quantization_config
from trl.rewards import get_soft_overlong_punishment

from spancredit.commands.distribution import check_launch, load_trained, save_whole, weights_held
from spancredit.commands.quiet import quiet
from spancredit.commands.recorder import Recorder
from spancredit.commands.train_arguments import Request, TaskArguments, parse, read_request
from spancredit.errors import ConfigError
from spancredit.evaluation.accuracy import Exam
from spancredit.models import load_policy
from spancredit.ranks import agreed, is_main, once, part, talking
from spancredit.report.checkpoints import last_readable, step_of
from spancredit.report.records import write
from spancredit.report.runfolder import RunFolder, latest, unused
from spancredit.tasks.task import HELD_OUT, load_task
from spancredit.training.sampling import prompts_per_batch
from spancredit.training.trl import CreditGRPOConfig, CreditGRPOTrainer

RUNS = Path("runs")


def train(argv: list[str], console: Console | None = None) -> RunFolder:
    """Run the job that the command line asks for, to its end; with `--resume`, from its last checkpoint.

    Every process of a launcher calls it; the main one alone writes the run folder and shows it.
    """
    quiet()
    request = read_request(argv)
    resumed = RunFolder.reopen(request.output_dir or latest(RUNS)) if request.resume else None
    asked, arguments, model = parse_checked(*(resumed.request() if resumed else (request.config, request.flags)))
    check_launch(arguments)
    if resumed is not None:
        resumed.check_launch(arguments.world_size, weights_held(arguments))
    peft_config = _peft_config(model)
    policy, tokenizer = load_policy(str(model.model_name_or_path), trainable=True, **init_arguments(model, arguments))
    if peft_config is not None and is_peft_model(policy):
        raise ConfigError(
            "--use_peft is set, and the model is an adapter, which is trained on as it is; expected no --use_peft."
        )
    task = load_task(asked, arguments.seed, tokenizer)
    train_set = Dataset.from_list(task.rows("train"))
    _check_size(len(train_set), arguments)
    exam = Exam(
        task.questions("held_out", asked.held_out_problems or HELD_OUT),
        task.reward,
        _most_tokens(arguments),
        asked.held_out_batch,
    )
    group = talking()
    folder, checkpoint = once(partial(_run, request, resumed, asked.task, arguments), group)
    agreed(folder.check_seen, group)
    arguments.output_dir = str(folder.path)
    arguments.disable_tqdm = True

    recorder = Recorder(
        folder,
        tokenizer,
        exam,
        asked.held_out_steps,
        _sampling(arguments) if asked.held_out_sampled else None,
        asked.records_per_step,
        console or Console(),
        group,
    )
    trainer = CreditGRPOTrainer(
        policy,
        rewards((asked.partial_reward and task.shares) or task.reward, asked.overlong_cache, arguments),
        arguments,
        train_dataset=train_set,
        processing_class=tokenizer,
        peft_config=peft_config,
        **task.functions.get(asked.measured_outcome, {}),
        callbacks=[recorder],
        on_credit=recorder.record,
    )
    trainer.remove_callback(PrinterCallback)
    settings = {**asdict(asked), **trainer.args.to_dict(), **asdict(model)}
    once(partial(_begin, folder, checkpoint, settings), group)
    if arguments.world_size > 1:
        recorder.say(_batch_in_words(arguments))
    with recorder.progress.running():
        recorder.start()
        if checkpoint is not None and folder.trained_to_the_end(checkpoint):
            load_trained(trainer, checkpoint)
        else:
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    save_whole(trainer, folder.path / "model")
    if is_main():
        recorder.finish()
    part(group)
    return folder


def parse_checked(config: Path | None, flags: list[str]) -> tuple[TaskArguments, CreditGRPOConfig, ModelConfig]:
    """Settings from a YAML file and flags, refused here if this command could not run with them."""
    task, arguments, model = parse(config, flags)
    _check(arguments)
    if task.overlong_cache > _most_tokens(arguments):
        most = _most_tokens(arguments)
        raise ConfigError(f"overlong_cache is {task.overlong_cache}; expected at most max_completion_length, {most}.")
    if task.train_problems is not None:
        _check_size(task.train_problems, arguments)
    if arguments.chat_template_kwargs is not None:
        raise ConfigError(
            "chat_template_kwargs would change what training asks and not what held-out accuracy does; expected a chat "
            "template that is as it should be."
        )
    _peft_config(model)
    return task, arguments, model


def _check_size(problems: int, arguments: CreditGRPOConfig) -> None:
    least = prompts_per_batch(arguments)
    if problems < least:
        raise ConfigError(f"train_problems is {problems}; expected at least {least}, one generation batch.")


def _most_tokens(arguments: CreditGRPOConfig) -> int:
    return int(arguments.max_completion_length or 512)


def _batch_in_words(arguments: CreditGRPOConfig) -> str:
    own, steps = arguments.per_device_train_batch_size, arguments.gradient_accumulation_steps
    count = arguments.world_size
    return f"{count} processes x {own} x {steps} = {count * own * steps} completions a step"


def _sampling(arguments: CreditGRPOConfig) -> dict[str, Any]:
    """How training samples, for `generate`."""
    names = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")
    return {name: getattr(arguments, name) for name in names}


def rewards(
    right: Callable[..., list[float]], overlong_cache: int, arguments: CreditGRPOConfig
) -> list[Callable[..., list[float]]]:
    """Whether the answer is right, and DAPO's soft overlong punishment if it is asked for."""
    overlong = get_soft_overlong_punishment(_most_tokens(arguments), overlong_cache)
    return [right, *([overlong] if overlong_cache else [])]


def _run(
    request: Request, resumed: RunFolder | None, task: str, arguments: CreditGRPOConfig
) -> tuple[RunFolder, Path | None]:
    """The run folder, and the checkpoint to continue from."""
    if resumed is not None:
        return resumed, last_readable(resumed.path)
    path = request.output_dir or unused(RUNS / f"{task}-{arguments.credit.mode}-seed{arguments.seed}")
    launch = arguments.world_size, weights_held(arguments)
    created = RunFolder.create(path, request.flags, request.config, arguments.seed, *launch)
    return created, None


def _begin(folder: RunFolder, checkpoint: Path | None, settings: dict[str, Any]) -> None:
    """What is written before the first step; what a resumed run will write again is forgotten."""
    write(folder.path / "config.json", json.dumps(settings, indent=2, default=str) + "\n")
    folder.rewind(step_of(checkpoint) if checkpoint else -1)


def init_arguments(model: ModelConfig, arguments: CreditGRPOConfig) -> dict[str, object]:
    """How TRL's own script loads a model from its ModelConfig."""
    return {
        "revision": model.model_revision,
        "trust_remote_code": arguments.trust_remote_code,
        "attn_implementation": model.attn_implementation,
        "dtype": model.dtype or "auto",
        "quantization_config": get_quantization_config(model),
        **(arguments.model_init_kwargs or {}),
    }


def _peft_config(model: ModelConfig) -> object:
    if model.use_peft and not is_peft_available():
        raise ConfigError("--use_peft needs the package peft, which is not installed: pip install 'spancredit[peft]'.")
    return get_peft_config(model)


def _check(arguments: CreditGRPOConfig) -> None:
    """Refuse checkpoints that a run could not continue from. Micro-batches are counted on each process alike."""
    uses = arguments.steps_per_generation * arguments.num_iterations  # of one generation batch, in micro-batches
    saved = arguments.save_steps * arguments.gradient_accumulation_steps
    if arguments.save_strategy == "steps" and saved >= 1 and saved % uses:
        raise ConfigError(
            f"save_steps is {arguments.save_steps}, in the middle of the {uses} uses of a generation batch, which a "
            f"resumed run would lose; expected save_steps x gradient_accumulation_steps to be a multiple of {uses}."
        )
