"""How a launcher distributes a run: whole weights in each process, or parts of them. And the weights on disk, whole."""

import os
from dataclasses import fields
from pathlib import Path
from typing import Any

from accelerate.utils import DistributedType
from transformers import Trainer, TrainingArguments

from spancredit.errors import ConfigError
from spancredit.models import without_folders
from spancredit.report.checkpoints import step_of
from spancredit.report.runfolder import RunFolder, in_words
from spancredit.tasks.settings import TaskSettings
from spancredit.training.card import write_card

FSDP, ZERO = "FSDP", "DeepSpeed"


def check_launch(arguments: TrainingArguments) -> None:
    """Refuse a launch that would not do what it says, and ZeRO-3 that would leave no policy to load.

    Raises:
        ConfigError: if so.
    """
    started, processes = int(os.environ.get("WORLD_SIZE", "1")), arguments.world_size
    if started != processes:
        raise ConfigError(
            f"a launcher started {started} processes (WORLD_SIZE), and training sees {processes}: each would train "
            "alone; expected an accelerator for each, or use_cpu: true."
        )
    own = arguments.distributed_state.distributed_type
    no_fsdp, no_zero = own in (DistributedType.NO, DistributedType.MULTI_CPU), own != DistributedType.DEEPSPEED
    for name, asked, ignored in (("FSDP", FSDP, no_fsdp), ("DEEPSPEED", ZERO, no_zero)):
        if ignored and os.environ.get(f"ACCELERATE_USE_{name}", "").lower() == "true":
            raise ConfigError(
                f"the launcher asks for {asked}, which accelerate leaves out on the CPU; expected use_cpu: false and "
                "an accelerator for each process, or recipes/accelerate/ddp.yaml."
            )
    plugin = arguments.deepspeed_plugin
    if plugin is None or plugin.zero_stage != 3:
        return
    if not plugin.deepspeed_config["zero_optimization"].get("stage3_gather_16bit_weights_on_model_save"):
        raise ConfigError(
            "ZeRO-3 is told to gather no weights when it saves, which leaves no model that could be loaded; expected "
            "zero3_save_16bit_model: true in accelerate's config."
        )


def weights_held(arguments: TrainingArguments) -> str:
    """How the processes hold the policy's weights, so how checkpoints are written, and the launcher's precision."""
    precision = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    mixed = "" if precision == "no" else f", computing in {precision}"
    if arguments.deepspeed_plugin is not None:
        return f"DeepSpeed's ZeRO-{arguments.deepspeed_plugin.zero_stage}{mixed}"
    if os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true":
        return f"FSDP's shards, saved as {os.environ.get('FSDP_STATE_DICT_TYPE', 'they are by default')}{mixed}"
    return f"whole weights{mixed}"


def load_trained(trainer: Trainer, checkpoint: Path) -> None:
    """The policy of a checkpoint, where the trainer would have it at the end of training."""
    if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:  # parts find their places once it is ready to train
        trainer._prepare_for_training(trainer.args.max_steps, None, str(checkpoint))
    else:
        trainer._load_from_checkpoint(str(checkpoint))
    trainer.state.global_step = step_of(checkpoint)


def save_whole(trainer: Trainer, path: Path) -> None:
    """A folder that `from_pretrained` loads, with its card. All processes call it; the main one writes."""
    if trainer.is_fsdp_enabled:  # save_model leaves it out if checkpoints are to be sharded
        trainer._save(str(path), state_dict=trainer.accelerator.get_state_dict(trainer.model))
    else:
        trainer.save_model(str(path))
    trainer.create_model_card(model_name=path.parent.name)
    if trainer.is_world_process_zero():
        _write_cards(trainer, path)


def _write_cards(trainer: Trainer, path: Path) -> None:
    """Beside the weights, and in the run folder, where TRL's was."""
    run = RunFolder(path.parent)
    settings = run.settings()
    task = TaskSettings(**{f.name: settings[f.name] for f in fields(TaskSettings) if f.name in settings})
    for folder in (path, run.path):
        write_card(trainer, folder, _about(run, settings), task.measured_outcome)


def _about(run: RunFolder, settings: dict[str, Any]) -> list[str]:
    """Sentences for the card: the task, and what a run's folder says of held-out accuracy."""
    named = f" on `{without_folders(settings['dataset'])}`" if settings.get("dataset") else ""
    sentences = [f"Task: `{settings['task']}`{named}."]
    if held_out := run.rows(run.held_out):
        before, after = held_out[0], held_out[-1]
        sentences.append(f"Held-out accuracy, greedy: {in_words(before)} at first, {in_words(after)} at the end.")
    return sentences
