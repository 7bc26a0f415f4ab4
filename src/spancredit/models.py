"""Load a policy and its tokenizer: the bundled one, a local folder, or a name on the hub. And random numbers apart."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from spancredit.errors import ModelError

BUNDLED = "bundled"
BUNDLED_FOLDER = Path(__file__).parent / "policy"


def resolve(name: str) -> str:
    """The path or hub name behind a model name; `bundled` is the small policy inside the package."""
    return str(BUNDLED_FOLDER) if name == BUNDLED else name


@contextmanager
def seeded(device: torch.device, seed: int) -> Iterator[None]:
    """Random numbers from this seed, and afterwards as if none had been drawn."""
    devices = [] if device.type == "cpu" else [device]
    with torch.random.fork_rng(devices, device_type=device.type):
        torch.manual_seed(seed)
        yield


def load_policy(name: str, **init_arguments: Any) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A causal language model in eval mode with its tokenizer, which pads on the left.

    Args:
        name: `bundled`, a folder with a saved model, or a name on the hub.
        init_arguments: For `from_pretrained`; the dtype is that of the saved weights unless one is given.

    Raises:
        ModelError: if nothing can be loaded under that name.
    """
    source = resolve(name)
    if source.startswith((".", "/", "~")) and not Path(source).is_dir():
        raise ModelError(f"cannot load the model {name!r}: there is no such folder.")
    hub = {key: init_arguments[key] for key in ("revision", "trust_remote_code") if key in init_arguments}
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, padding_side="left", **hub)
        model = AutoModelForCausalLM.from_pretrained(source, **{"dtype": "auto", **init_arguments})
    except (OSError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise ModelError(
            f"cannot load the model {name!r}: expected 'bundled', a folder with a saved model, or a name on a hub "
            f"that can be reached ({first})"
        ) from error
    return model.eval(), tokenizer
