"""How a launcher distributes a run: whole weights in each process, or parts of them. And the weights on disk, whole."""

import os
from pathlib import Path

from accelerate.utils import DistributedType
from transformers import Trainer, TrainingArguments

from spancredit.errors import ConfigError, RunFolderError

FSDP, ZERO, WHOLE = "FSDP", "DeepSpeed", "neither FSDP nor DeepSpeed"


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
                "an accelerator for each process, or another config."
            )
    plugin = arguments.deepspeed_plugin
    if plugin is None or plugin.zero_stage != 3:
        return
    if not plugin.deepspeed_config["zero_optimization"].get("stage3_gather_16bit_weights_on_model_save"):
        raise ConfigError(
            "ZeRO-3 is told to gather no weights when it saves, which leaves no model that could be loaded; expected "
            "zero3_save_16bit_model: true in accelerate's config."
        )


def check_layout(trainer: Trainer, checkpoint: Path) -> None:
    """Refuse to continue from a checkpoint of another way to distribute the weights.

    Raises:
        RunFolderError: if it is one.
    """
    own, found = _own(trainer), layout(checkpoint)
    if found != own:
        raise RunFolderError(f"{checkpoint} was saved under {found}, and is resumed under {own}; expected the same.")


def layout(checkpoint: Path) -> str:
    """How the weights were distributed when this was saved: `FSDP`, `ZERO` or `WHOLE`."""
    if any(checkpoint.glob("pytorch_model_fsdp*")):
        return FSDP
    return ZERO if (checkpoint / "latest").exists() else WHOLE


def load_trained(trainer: Trainer, checkpoint: Path) -> None:
    """The policy of a checkpoint, where the trainer would have it at the end of training."""
    if _own(trainer) == WHOLE:
        trainer._load_from_checkpoint(str(checkpoint))
    else:  # parts find their places once the policy is made ready to train
        trainer._prepare_for_training(trainer.args.max_steps, None, str(checkpoint))


def save_whole(trainer: Trainer, path: Path) -> None:
    """A folder that `from_pretrained` loads. All processes call it; the main one writes."""
    if _own(trainer) == FSDP:  # save_model leaves it out if checkpoints are to be sharded
        trainer._save(str(path), state_dict=trainer.accelerator.get_state_dict(trainer.model))
    else:
        trainer.save_model(str(path))


def _own(trainer: Trainer) -> str:
    return FSDP if trainer.is_fsdp_enabled else ZERO if trainer.is_deepspeed_enabled else WHOLE
