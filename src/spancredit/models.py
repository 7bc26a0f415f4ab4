"""Load a policy and its tokenizer: bundled, a folder, an adapter, a GGUF file, or on the hub."""

import os
import re
import struct
from difflib import get_close_matches
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase
from transformers.utils import cached_file, find_adapter_config_file, is_peft_available

from spancredit.adapters import base_of, fitted
from spancredit.errors import ModelError, UnknownNameError
from spancredit.kernels import check_kernels

POLICIES = Path(__file__).parent / "policies"
BUNDLED, BUNDLED_CODE = "bundled", "bundled-code"
BUNDLED_FOLDERS = {BUNDLED: POLICIES / "wordproblems", BUNDLED_CODE: POLICIES / "code"}
DTYPES = ("auto", "float32", "bfloat16", "float16", "float64")
EXPECTED = (
    "expected 'bundled', 'bundled-code', a folder with a saved model or adapter, a GGUF file, or a name on a hub that "
    "can be reached"
)
PICKLED = "it has no weights in safetensors, and a pickle is not loaded, since that can run code; expected safetensors"
# As transformers and its check of a config's own file name say it.
NO_SAFETENSORS = re.compile("no file named \\S*safetensors|loaded with `safetensors`|neither a safetensors file")
# What loaders say of a bad file or config, or of a package that it needs; UnpicklingError: of weights that are more
# than tensors, which torch leaves alone.
UNREADABLE = (
    *(OSError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError, ImportError),
    *(struct.error, SafetensorError, UnpicklingError, StrictDataclassError),
)
Policy = tuple[Any, PreTrainedTokenizerBase]


def resolve(name: str) -> str:
    """The path or hub name behind a model name; `bundled` and `bundled-code` are small policies inside the package."""
    if name.startswith("~"):
        return str(Path(name).expanduser())
    return str(BUNDLED_FOLDERS.get(name, name))


def without_folders(name: str) -> str:
    """Of a path its last part, since where it lay is nobody's business; a name on the hub as it is."""
    path = Path(name)
    too_deep = len(path.parts) > (3 if name.endswith(".gguf") else 2)
    local = path.exists() or path.is_absolute() or name.startswith((".", "~")) or too_deep
    return Path(os.path.abspath(name)).name if local else name


def load_policy(name: str, *, trainable: bool = False, **init_arguments: Any) -> Policy:
    """A causal language model in eval mode with its tokenizer, which pads on the left.

    The weights of a GGUF file are dequantized: what comes is a plain model, which can be trained and saved. An adapter
    stays beside the weights of its base, as a `PeftModel`: merged into weights of half precision, it would be rounded.

    Nothing that comes with a model is run: weights are read from safetensors or GGUF and never from a pickle, code in
    a model's folder is left alone unless `trust_remote_code=True` asks for it, and kernels on the hub that its config
    names unless `attn_implementation` (or `experts_implementation`) does. Of adapters, LoRA is loaded.

    Args:
        name: `bundled`, `bundled-code`, a folder with a saved model or an adapter, a GGUF file, or a name on the hub
            (of a file there: `owner/name/file.gguf`).
        trainable: Whether an adapter's own weights are to be trained.
        init_arguments: For `from_pretrained`; the dtype is that of the saved weights unless one is given.

    Raises:
        UnknownNameError: if the dtype is none of `DTYPES`.
        ModelError: if nothing can be loaded under that name, what is there would have to be run or unpickled, a
            package is missing, or an adapter does not fit its base.
    """
    dtype = init_arguments.setdefault("dtype", "auto")
    if isinstance(dtype, str) and dtype not in DTYPES:
        raise UnknownNameError("dtype", dtype, DTYPES)
    init_arguments = {"trust_remote_code": False, "use_safetensors": True, **init_arguments}
    source = _located(name)
    hub = {key: value for key, value in init_arguments.items() if key in ("revision", "trust_remote_code")}
    try:
        if source.endswith(".gguf"):
            model, tokenizer = _from_gguf(source, hub, init_arguments)
        elif (adapter := _adapter_config(source, hub.get("revision"))) is not None:
            model, tokenizer = _from_adapter(source, adapter, trainable, hub, init_arguments)
        else:
            check_kernels(source, hub, init_arguments)
            tokenizer = AutoTokenizer.from_pretrained(source, padding_side="left", **hub)
            model = AutoModelForCausalLM.from_pretrained(source, **init_arguments)
    except (ModelError, torch.OutOfMemoryError):
        raise
    except UNREADABLE as error:
        raise ModelError(f"cannot load the model {name!r}: {_why(error)}{_meant(name)}.") from error
    return model.eval(), tokenizer


def _meant(name: str) -> str:
    """What else somebody may have had in mind."""
    if (Path(name) / "run.json").exists():
        return f"; it is the folder of a run, whose policy is {str(Path(name) / 'model')!r}"
    close = get_close_matches(name, BUNDLED_FOLDERS, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def ready(model: Any, tokenizer: PreTrainedTokenizerBase) -> Policy:
    """A policy that no trainer places: on the accelerator if there is one, and with a pad token."""
    return model.to(torch.accelerator.current_accelerator() or "cpu"), with_pad(tokenizer)


def with_pad(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """The tokenizer; one without a pad token gets that of the end, as TRL's trainers give it."""
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _located(name: str) -> str:
    source = resolve(name)
    file = source.endswith(".gguf")
    on_hub = not source.startswith((".", "/")) and (not file or source.count("/") == 2)
    if not on_hub and not Path(source).exists():
        raise ModelError(f"cannot load the model {name!r}: there is no such {'file' if file else 'folder'}.")
    return source


def _adapter_config(source: str, revision: str | None) -> Path | None:
    """Where an adapter says what it is; None for anything else. A hub that cannot be reached is an OSError at once."""
    if Path(source).is_file():
        return None
    if not Path(source).is_dir():
        cached_file(source, "config.json", revision=revision, _raise_exceptions_for_missing_entries=False)
    found = find_adapter_config_file(source, revision=revision)
    return None if found is None else Path(found)


def _has(source: str, file: str, revision: str | None) -> bool:
    return bool(cached_file(source, file, revision=revision, _raise_exceptions_for_missing_entries=False))


def _from_gguf(source: str, hub: dict[str, Any], init_arguments: dict[str, Any]) -> Policy:
    if init_arguments.get("quantization_config") is not None:
        raise ModelError(f"{source!r} is a GGUF file, whose weights are dequantized; expected no other quantization.")
    try:
        from transformers import GgufConfig
    except ImportError as error:
        raise ModelError(f"{source!r} is a GGUF file, which needs transformers 5.20 or later.") from error
    folder, _, file = source.rpartition("/")
    where = {"pretrained_model_name_or_path": folder or ".", "gguf_file": file}
    own = {**init_arguments, "quantization_config": GgufConfig(dequantize=True)}
    try:
        tokenizer = AutoTokenizer.from_pretrained(**where, padding_side="left", **hub)
        model = AutoModelForCausalLM.from_pretrained(**where, **own)
    except ImportError as error:
        raise ModelError(
            f"{source!r} is a GGUF file, which needs the package gguf: pip install 'spancredit[gguf]'."
        ) from error
    model.name_or_path = model.config._name_or_path = source  # else an adapter over it would name the folder only
    return model, tokenizer


def _from_adapter(source: str, config: Path, trainable: bool, hub: dict[str, Any], own: dict[str, Any]) -> Policy:
    if not is_peft_available():
        raise ModelError(f"{source!r} is an adapter, which needs the package peft: pip install 'spancredit[peft]'.")
    base, base_revision = base_of(source, config)
    try:
        if _adapter_config(_located(base), base_revision) is not None:
            raise ModelError(f"{base!r} is an adapter itself; expected a whole model.")
        model, tokenizer = load_policy(base, **{**own, "revision": base_revision})
    except (ModelError, OSError) as error:
        raise ModelError(f"the adapter {source!r} lacks its base: {_first_line(error)}.") from error
    revision = hub.get("revision")
    if not _has(source, "adapter_model.safetensors", revision):
        raise ModelError(f"cannot load the adapter {source!r}: {PICKLED}.")
    if _has(source, "tokenizer_config.json", revision):
        tokenizer = AutoTokenizer.from_pretrained(source, padding_side="left", **hub)
    return fitted(model, source, base, trainable, revision), tokenizer


def _why(error: BaseException) -> str:
    if "`trust_remote_code=True`" in str(error):
        return (
            "it brings code of its own, which is not run unless you ask for it; expected a family that transformers "
            "knows, or trust_remote_code (--trust_remote_code true in spancredit train)"
        )
    if NO_SAFETENSORS.search(str(error)) or isinstance(error, UnpicklingError):
        return PICKLED
    return f"{EXPECTED} ({_first_line(error)})"


def _first_line(error: BaseException) -> str:
    """The first that says something: not only that there was an error, or in which field."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    first = " ".join(lines[:2]) if lines and lines[0].endswith(":") else lines[0] if lines else type(error).__name__
    return first.rstrip(".")
