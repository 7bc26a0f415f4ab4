"""Models and tokenizers small enough to check by hand."""

import string
from collections.abc import Callable, Sequence
from functools import wraps
from types import SimpleNamespace
from typing import Any, get_args

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    GPT2Config,
    LlamaConfig,
    PreTrainedTokenizer,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

import spancredit as sc
from spancredit.counterfactual.interventions import Row, clean_row, intervene
from spancredit.names import Intervention
from spancredit.types import Span

VOCAB = 64
MODELS = [
    ("llama", torch.float32),
    ("llama", torch.float64),
    ("qwen2", torch.float32),
    ("qwen2", torch.float64),
    ("gpt2", torch.float32),
    ("gpt2", torch.float64),
    ("gemma2", torch.float32),  # in float64 the eager attention of transformers is NaN on padded rows
]
TOKENS = ["<pad>", "<eos>", "<unk>", *string.ascii_lowercase, *string.digits, *" .,+-*/=#:?\n"]
INDEX = {token: i for i, token in enumerate(TOKENS)}

TRAINER = {  # settings of a trainer that leaves nothing behind
    "learning_rate": 1e-3,
    "bf16": False,
    "gradient_checkpointing": False,
    "use_cpu": True,
    "report_to": "none",
    "save_strategy": "no",
    "logging_steps": 1,
    "disable_tqdm": True,
}


class ToyLM(nn.Module):
    """Logits at position t: the sum of `table[id_j]` over the attended tokens j <= t."""

    def __init__(self, table: torch.Tensor, pad_token_id: int | None = 0, max_position_embeddings: int | None = None):
        super().__init__()
        self.table = nn.Parameter(table)
        self.config = SimpleNamespace(
            vocab_size=len(table), pad_token_id=pad_token_id, max_position_embeddings=max_position_embeddings
        )

    def forward(self, input_ids, attention_mask=None, position_ids=None, logits_to_keep=0, use_cache=None):
        rows = self.table[input_ids]
        if attention_mask is not None:
            rows = torch.where(attention_mask[..., None].bool(), rows, torch.zeros_like(rows))
        return SimpleNamespace(logits=rows.cumsum(1)[:, -logits_to_keep:])


class AllLogitsLM(ToyLM):
    """Takes `logits_to_keep` and ignores it."""

    def forward(self, input_ids, attention_mask=None, position_ids=None, logits_to_keep=0, use_cache=None):
        return super().forward(input_ids, attention_mask)


class NoPositionsLM(ToyLM):
    """Takes no `position_ids`, so that padding it cannot be exact."""

    def forward(self, input_ids, attention_mask=None):
        return super().forward(input_ids, attention_mask)


class IdsOnlyLM(ToyLM):
    """Takes nothing but ids."""

    def forward(self, input_ids):
        return super().forward(input_ids)


def table_of(entries: dict[tuple[int, int], float], size: int = 10) -> torch.Tensor:
    """A float64 table that is 0 but for `entries[id, next_id]`."""
    table = torch.zeros(size, size, dtype=torch.float64)
    for index, value in entries.items():
        table[index] = value
    return table


def random_toy(seed: int = 0, scale: float = 0.7, kind: type[ToyLM] = ToyLM, **config: Any) -> ToyLM:
    table = torch.randn(VOCAB, VOCAB, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return kind(table * scale, **config)


def tiny(family: str, dtype: torch.dtype = torch.float32, attention: str | None = None, positions: int = 64) -> Any:
    """A random model of two layers; its weights are large, so that every token matters to every other."""
    torch.manual_seed(0)
    shared = {
        "vocab_size": VOCAB,
        "max_position_embeddings": positions,
        "initializer_range": 0.4,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 1,
    }
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    config = {
        "gpt2": lambda: GPT2Config(
            n_embd=32, n_layer=2, n_head=4, resid_pdrop=0.3, embd_pdrop=0.3, attn_pdrop=0.3, **shared
        ),
        "llama": lambda: LlamaConfig(**shared, **sizes, **heads),
        "qwen2": lambda: Qwen2Config(**shared, **sizes, **heads),
        "gemma2": lambda: Gemma2Config(
            head_dim=8, query_pre_attn_scalar=8, sliding_window=8, **shared, **sizes, **heads
        ),
    }[family]()
    model = AutoModelForCausalLM.from_config(config).to(dtype).eval()
    if attention is not None:
        model.config._attn_implementation_internal = attention
    return model


def sabotaged(model: Any, argument: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """The model with one argument of its forward changed wherever it is given."""
    forward = model.forward

    @wraps(forward)
    def changed(*args: Any, **kwargs: Any) -> Any:
        if kwargs.get(argument) is not None:
            kwargs[argument] = change(kwargs[argument])
        return forward(*args, **kwargs)

    model.forward = changed
    return model


def record_calls(model: nn.Module) -> list[dict[str, Any]]:
    """A list that fills with the keyword arguments of every forward; one of no token, for the head alone, is none."""
    calls: list[dict[str, Any]] = []

    def note(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        if kwargs["input_ids"].numel():
            calls.append(kwargs)

    model.register_forward_pre_hook(note, with_kwargs=True)
    return calls


def row_of(ids: Sequence[int], answer_size: int) -> Row:
    """A clean row that ends with its answer."""
    return Row(tuple(ids), ((len(ids) - answer_size, len(ids)),))


def uneven_rows() -> list[Row]:
    """Clean rows of three lengths, each followed by every counterfactual of two of its spans."""
    generator = torch.Generator().manual_seed(1)
    rows: list[Row] = []
    for prompt, completion, answer in ((1, 8, 1), (4, 19, 3), (6, 34, 2)):
        draw = torch.randint(1, VOCAB, (prompt + completion,), generator=generator).tolist()
        rollout = sc.Rollout(draw[:prompt], draw[prompt:])
        clean = clean_row(rollout, Span(completion - answer, completion, "answer"))
        rows.append(clean)
        for span in (Span(0, 3, "text"), Span(3, completion - answer, "text")):
            for name in get_args(Intervention):
                replacement = {"pad": [0], "filler": [11, 12]}.get(name, [])
                rows.append(intervene(clean, (prompt + span.start, prompt + span.end), name, replacement))
    return rows


class SlowCharTokenizer(PreTrainedTokenizer):
    """One token a character, in Python."""

    model_input_names = ("input_ids", "attention_mask")

    @property
    def vocab_size(self) -> int:
        return len(TOKENS)

    def get_vocab(self) -> dict[str, int]:
        return dict(INDEX)

    def _tokenize(self, text: str, **_: Any) -> list[str]:
        return list(text)

    def _convert_token_to_id(self, token: str) -> int:
        return INDEX.get(token, INDEX["<unk>"])

    def _convert_id_to_token(self, index: int) -> str:
        return TOKENS[index] if index < len(TOKENS) else "<unk>"

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        return "".join(tokens)


def char_tokenizer(slow: bool = False, pad: bool = True) -> Any:
    special = {"eos_token": "<eos>", "unk_token": "<unk>"} | ({"pad_token": "<pad>"} if pad else {})
    if slow:
        return SlowCharTokenizer(**special)
    backend = Tokenizer(models.WordLevel(INDEX, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    backend.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=backend, **special)


def ids_of(text: str) -> list[int]:
    """Ids under the tokenizers above; the names of special tokens are not read as such."""
    return [INDEX[character] for character in text]


def chat(text: str, prompt: str = "how many?", **more: Any) -> sc.Rollout:
    return sc.Rollout(ids_of(prompt), ids_of(text), **more)
