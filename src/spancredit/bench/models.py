"""Models to measure with: a saved one, or a random one of a given shape; and what its parts cost."""

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from transformers import AutoModelForCausalLM, Gemma3TextConfig, PreTrainedTokenizerBase, Qwen2Config

from spancredit.bench.price import Prices
from spancredit.errors import ConfigError, ModelError, UnknownNameError
from spancredit.models import load_policy, with_pad

POSITIONS = 32768
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Shape:
    """The sizes of a random model: a Qwen2, or a Gemma 3 whose attention slides over `window` keys in 5 layers of 6."""

    hidden: int = 256
    layers: int = 4
    heads: int = 4
    kv_heads: int = 0
    head_dim: int = 0
    intermediate: int = 0
    vocab: int = 4096
    window: int = 0

    def __post_init__(self) -> None:
        for name in ("hidden", "layers", "heads", "vocab"):
            if getattr(self, name) < 1:
                raise ConfigError(f"--shape has {name}={getattr(self, name)}; expected at least 1.")
        if not self.head_dim and self.hidden % (2 * self.heads):
            raise ConfigError(f"--shape has hidden={self.hidden}; expected a multiple of twice its {self.heads} heads.")
        if self.heads % (self.kv_heads or self.heads):
            raise ConfigError(f"--shape has kv_heads={self.kv_heads}; expected a divisor of its {self.heads} heads.")

    @property
    def config(self) -> Any:
        sizes = {
            "hidden_size": self.hidden,
            "intermediate_size": self.intermediate or 3 * self.hidden,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads or self.heads,
            "head_dim": self.head_dim or self.hidden // self.heads,
            "vocab_size": self.vocab,
            "max_position_embeddings": POSITIONS,
            "tie_word_embeddings": True,
            "pad_token_id": 0,
            "bos_token_id": None,
            "eos_token_id": 1,
        }
        if self.window:
            return Gemma3TextConfig(**sizes, sliding_window=self.window, query_pre_attn_scalar=sizes["head_dim"])
        return Qwen2Config(**sizes)


SHAPES = {
    "tiny": Shape(),
    "0.5b": Shape(hidden=896, layers=24, heads=14, kv_heads=2, intermediate=4864, vocab=151936),
    "gemma-270m": Shape(
        hidden=640, layers=18, heads=4, kv_heads=1, head_dim=256, intermediate=2048, vocab=262144, window=512
    ),
}


@dataclass(frozen=True)
class Source:
    """Which model to measure with, and where.

    Args:
        model: What `load_policy` takes; used where there is no shape.
        shape: Sizes of a random model, or None.
        dtype: `float32` or `bfloat16`.
        device: `cpu` or `cuda`.
    """

    model: str = "bundled"
    shape: Shape | None = None
    dtype: str = "float32"
    device: str = "cpu"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, known in {"dtype": tuple(DTYPES), "device": ("cpu", "cuda")}.items():
            if getattr(self, name) not in known:
                raise UnknownNameError(name, getattr(self, name), known)
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ConfigError("--device is cuda, but torch finds no such device here; expected cpu.")

    def facts(self) -> dict[str, Any]:
        """What it is, for people and programs; the sizes of a shape that are 0 follow from the others."""
        what = {"model": self.model} if self.shape is None else {"shape": vars(self.shape)}
        return {**what, "dtype": self.dtype, "device": self.device, "seed": self.seed}

    def load(self) -> tuple[Any, PreTrainedTokenizerBase | None]:
        """The model in eval mode on its device, with its tokenizer; a random one has none."""
        if self.shape is None:
            model, tokenizer = load_policy(self.model, dtype=DTYPES[self.dtype])
            return model.to(self.device), with_pad(tokenizer)
        torch.manual_seed(self.seed)
        with torch.device(self.device):
            model = AutoModelForCausalLM.from_config(self.shape.config, dtype=DTYPES[self.dtype])
        return model.eval(), None


def read_shape(text: str) -> Shape:
    """A named shape, or sizes as in `hidden=256,layers=4,heads=4,vocab=4096`; what is left out is that of `tiny`.

    Raises:
        ConfigError: if it is neither.
    """
    if text in SHAPES:
        return SHAPES[text]
    if "=" not in text:
        raise UnknownNameError("shape", text, [*SHAPES, "hidden=256,layers=4,heads=4,vocab=4096"])
    sizes: dict[str, int] = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        if name not in {field.name for field in fields(Shape)}:
            raise UnknownNameError("size in --shape", name, [field.name for field in fields(Shape)])
        if not value.isdecimal():
            raise ConfigError(f"--shape has {part!r}; expected {name}= and an integer.")
        sizes[name] = int(value)
    return replace(SHAPES["tiny"], **sizes)


def prices_of(model: Any) -> Prices:
    """What a model's parts cost. Of a mixture of experts every expert is counted, though a token passes few."""
    config = model.config.get_text_config()
    head = model.get_output_embeddings()
    if head is None:
        raise ModelError(f"{type(model).__name__} has no output head that could be priced.")
    tables = {id(head.weight)} | {
        id(module.weight) for module in model.modules() if isinstance(module, torch.nn.Embedding)
    }
    heads = config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    window = getattr(config, "sliding_window", None)
    types = getattr(config, "layer_types", None) or ["sliding_attention"] * config.num_hidden_layers
    return Prices(
        token=sum(p.numel() for p in model.parameters() if id(p) not in tables),
        key=2 * heads * size,
        logits=head.weight.numel(),
        windows=tuple(window if kind == "sliding_attention" else None for kind in types),
    )
