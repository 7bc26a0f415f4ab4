"""Load a policy and its tokenizer: the bundled one, a local folder, or a name on the hub."""

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from spancredit.errors import ModelError

BUNDLED = "bundled"
BUNDLED_FOLDER = Path(__file__).parent / "policy"


def resolve(name: str) -> str:
    """The path or hub name behind a model name; `bundled` is the small policy inside the package."""
    return str(BUNDLED_FOLDER) if name == BUNDLED else name


def load_policy(name: str, dtype: str = "auto") -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A causal language model in eval mode with its tokenizer, which pads on the left.

    Raises:
        ModelError: if nothing can be loaded under that name.
    """
    source = resolve(name)
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, padding_side="left")
        model = AutoModelForCausalLM.from_pretrained(source, dtype=dtype)
    except (OSError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise ModelError(
            f"cannot load the model {name!r}: expected 'bundled', a folder with a saved model, or a name on a hub "
            f"that can be reached ({first})"
        ) from error
    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval(), tokenizer
