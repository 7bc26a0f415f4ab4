"""An adapter beside its base: what it says of itself, and all of its weights in the places they were trained for."""

import json
import warnings
from pathlib import Path
from typing import Any

from spancredit.errors import ModelError

# What is tested, and loads tensors alone: X-LoRA and SHADOW name further models, whose weights peft would read.
KNOWN = ("LORA",)


def base_of(source: str, config: Path) -> tuple[str, str]:
    """The name and the revision of the model that an adapter was trained on.

    Raises:
        ModelError: if it names none, is of a kind that is not known, or would have a module of its choice imported.
        ValueError, RecursionError: if its config is no JSON.
    """
    settings = json.loads(config.read_text(encoding="utf-8"))
    if not isinstance(settings, dict):
        raise ModelError(f"the config of the adapter {source!r} is a {type(settings).__name__}; expected an object.")
    kind, base = settings.get("peft_type"), settings.get("base_model_name_or_path")
    if kind not in KNOWN:
        raise ModelError(f"the adapter {source!r} is of peft_type {kind!r}; expected {' or '.join(KNOWN)}.")
    if settings.get("megatron_config") is not None:
        raise ModelError(
            f"the adapter {source!r} has a megatron_config, for which peft imports modules; expected none."
        )
    if not isinstance(base, str) or not base:
        raise ModelError(f"the adapter {source!r} names no base; expected base_model_name_or_path in its config.")
    return base, str(settings.get("revision") or "main")


def fitted(base: Any, source: str, base_name: str, trainable: bool, revision: str | None) -> Any:
    """The base with the adapter.

    Raises:
        ModelError: if any of its weights has no place, or a place no weights.
    """
    from peft import PeftModel, get_peft_model_state_dict
    from peft.utils import load_peft_weights

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="Found missing adapter keys")
            model = PeftModel.from_pretrained(base, source, is_trainable=trainable, revision=revision)
        saved = load_peft_weights(source, "cpu", revision=revision).keys()
        surplus = saved - get_peft_model_state_dict(model).keys()
        misfit = f"the base has no place for {len(surplus)} of its {len(saved)} tensors" if surplus else None
    except UserWarning:
        misfit = "it has no weights for some of the base's modules"
    except (RuntimeError, ValueError) as error:
        misfit = str(error).strip().splitlines()[:2][-1].strip().rstrip(".")  # torch has a headline first
    if misfit:
        raise ModelError(
            f"the adapter {source!r} does not fit its base {base_name!r} ({misfit}); expected the base that it was "
            "trained on."
        )
    return model
