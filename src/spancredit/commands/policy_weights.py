"""The policy's weights on disk, whether every process holds all of them or a part: saved whole, and loaded again."""

from pathlib import Path

from transformers import Trainer

from spancredit.errors import ConfigError, RunFolderError

FSDP, ZERO, WHOLE = "FSDP", "DeepSpeed", "whole weights in each process"


def check_saving(trainer: Trainer) -> None:
    """Refuse ZeRO-3 without gathering, which would leave a checkpoint where the trained policy should be.

    Raises:
        ConfigError: if so.
    """
    plugin = trainer.accelerator.state.deepspeed_plugin
    if plugin is None or plugin.zero_stage != 3:
        return
    if not plugin.deepspeed_config["zero_optimization"].get("stage3_gather_16bit_weights_on_model_save"):
        raise ConfigError(
            "ZeRO-3 is to gather no weights when it saves, and then no model that could be loaded is left; expected "
            "zero3_save_16bit_model: true in the config of accelerate."
        )


def check_layout(trainer: Trainer, checkpoint: Path) -> None:
    """Refuse to continue from a checkpoint of another way to distribute the weights.

    Raises:
        RunFolderError: if it is one.
    """
    own = FSDP if trainer.is_fsdp_enabled else ZERO if trainer.is_deepspeed_enabled else WHOLE
    found = layout(checkpoint)
    if found != own:
        raise RunFolderError(f"{checkpoint} was saved by {found}, and this run has {own}; expected the same.")


def layout(checkpoint: Path) -> str:
    """How the weights were distributed when this was saved: `FSDP`, `ZERO` or `WHOLE`."""
    if any(checkpoint.glob("pytorch_model_fsdp*")):
        return FSDP
    return ZERO if (checkpoint / "latest").exists() else WHOLE


def load_trained(trainer: Trainer, checkpoint: Path) -> None:
    """The policy of a checkpoint, where the trainer would have it at the end of training."""
    if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:  # it has its place once it is made ready to train
        trainer._prepare_for_training(trainer.args.max_steps, None, str(checkpoint))
    else:
        trainer._load_from_checkpoint(str(checkpoint))


def save_whole(trainer: Trainer, path: Path) -> None:
    """A folder that `from_pretrained` loads. All processes call it; the main one writes."""
    if trainer.is_fsdp_enabled:  # save_model leaves it out if checkpoints are to be sharded
        trainer._save(str(path), state_dict=trainer.accelerator.get_state_dict(trainer.model))
    else:
        trainer.save_model(str(path))
