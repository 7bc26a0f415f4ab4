"""Native code that a model's configuration asks for: transformers would fetch it from the hub and run it."""

from collections.abc import Iterator
from typing import Any

from transformers import AutoConfig, PreTrainedConfig
from transformers.utils import is_kernels_available

from spancredit.errors import ModelError

CHOICES = ("attn_implementation", "experts_implementation")


def check_kernels(source: str, hub: dict[str, Any], asked: dict[str, Any]) -> None:
    """Refuse a configuration that names kernels which nobody asked for but the model.

    Args:
        source, hub: Where the model is, as `from_pretrained` takes it.
        asked: What the caller said of the model: an implementation that is named there is the caller's own.

    Raises:
        ModelError: if so.
    """
    config = AutoConfig.from_pretrained(source, **hub)
    for choice, name in _chosen(config):
        if asked.get(choice) is None and _fetched(name):
            raise ModelError(
                f"the config of the model {source!r} asks for {choice} {name!r}, which is native code from the hub and "
                f"not run unless you ask for it; expected a model without it, or {choice} by your own choice."
            )


def _chosen(value: Any) -> Iterator[tuple[str, str]]:
    """Implementations anywhere in a configuration, as it was read."""
    if isinstance(value, PreTrainedConfig):
        value = vars(value)
    if isinstance(value, dict):
        for key, one in value.items():
            choice = str(key).strip("_").removesuffix("_internal")
            if choice in CHOICES:
                names = one.values() if isinstance(one, dict) else [one]
                yield from ((choice, name) for name in names if isinstance(name, str))
            else:
                yield from _chosen(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _chosen(one)


def _fetched(name: str) -> bool:
    """Whether transformers would fetch it. Flash attention that is not installed it looks for on the hub, too."""
    return "/" in name or ("flash" in name and is_kernels_available())
