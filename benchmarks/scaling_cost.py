"""The model carried to a batch, a policy and a number of GPUs: what a step of credit takes of each of them.

Times follow from counts and from assumptions about the hardware (`GPU`); nothing here was measured on a GPU.
"""

from dataclasses import dataclass, replace
from functools import cache
from math import ceil
from typing import Any

import torch
from recipe_cost import FORWARDS, NAMES, SHAPES
from scaling_model import Work, parts_of, price_bytes, record_bytes, row_bytes
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config

from spancredit.bench.models import prices_of
from spancredit.bench.price import Need, Piece, Prices, price
from spancredit.config import CreditConfig
from spancredit.counterfactual.budget import HORIZONS, default_allowance, hulls
from spancredit.counterfactual.measure import method_name
from spancredit.counterfactual.packed import MOST_NODES
from spancredit.counterfactual.projection import LOGITS

GIGA, MICRO = 1e9, 1e-6
BF16, STATE = 2, 16  # bytes of a parameter: as it is read, and with its gradient and Adam in float32
CHARACTERS = 4  # of a token
LARGE = {
    "1.5B": (*SHAPES["qwen2.5-1.5b"], True),
    "7B": (Qwen2Config, (3584, 28, 28, 4, 128, 18944, 152064), False),
    "70B": (LlamaConfig, (8192, 80, 64, 8, 128, 28672, 128256), False),
}


@dataclass(frozen=True)
class GPU:
    """Assumptions, not measurements: an H100 SXM in nodes of 8, a 400 Gbit/s card each, and a host of 2 TB a node."""

    flops: float = 989e12  # bf16, dense
    used: float = 0.4  # of them, in forwards of thousands of tokens
    memory: float = 80 * GIGA
    inside: float = 300 * GIGA  # bytes a second that a GPU receives from its node
    across: float = 40 * GIGA  # from other nodes
    node: int = 8
    host: float = 250 * GIGA  # memory of a process
    hop: float = 50 * MICRO  # seconds of a message between hosts
    planning: float = 1.5 * MICRO  # seconds of a token of the trie: about what `--check` measures on a CPU
    planned: float = 390.0  # bytes of it, measured there
    pointer: int = 8  # bytes of an id in a row of the host
    unpickled: float = 0.7 * GIGA  # bytes of gathered rollouts that a rank reads in a second: measured there


@dataclass(frozen=True)
class Policy:
    """A policy's sizes: multiply-adds, parameters, and bytes of the keys and values of a token."""

    name: str
    prices: Prices
    parameters: int
    gathered: int  # parameters that every sharded forward gathers: the layers, and embeddings that are not tied
    kept: int
    hidden: int
    vocab: int


@cache
def policy(name: str) -> Policy:
    family, sizes, tied = LARGE[name]
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(
            family(**dict(zip(NAMES, sizes, strict=True)), tie_word_embeddings=tied)
        )
    config: Any = model.config
    parameters = sum(p.numel() for p in model.parameters())
    tail = config.hidden_size * config.vocab_size
    kept = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * BF16
    return Policy(name, prices_of(model), parameters, parameters - tail, kept, config.hidden_size, config.vocab_size)


@dataclass(frozen=True)
class Batch:
    """A step of DAPO: its prompts, and completions of one length."""

    completion: int
    prompts: int = 512
    group: int = 16
    prompt: int = 200
    spans: int = CreditConfig().max_spans  # text of a thousand tokens and more has more, which are merged to so many

    def work(self, vocab: int, horizon: int | None = None) -> Work:
        return Work(self.prompt, self.completion, self.spans, self.group, vocab, horizon)

    @property
    def rollouts(self) -> int:
        return self.prompts * self.group


@dataclass(frozen=True)
class Scored:
    """How a group is scored: the method's name, which share of its rollouts, and what a scored group takes."""

    method: str
    share: float
    work: Work


def scored(batch: Batch, vocab: int, how: str) -> Scored:
    """`exact`, `horizon` or `budget`: of 0.1, with the allowance that holds where no step was timed."""
    exact = batch.work(vocab)
    near = replace(exact, horizon=HORIZONS[0])
    if how != "budget":
        work = exact if how == "exact" else near
        return Scored(method_name(work.horizon), 1.0, work)
    allowance = default_allowance(0.1, batch.group * exact.size)
    stretches = replace(exact, spans=len(hulls([(i, i + 1) for i in range(exact.spans)])))
    if exact.tokens <= allowance:
        return Scored("exact", 1.0, exact)
    if stretches.tokens + exact.tokens / 2 <= allowance:
        return Scored("coarse", 1.0, stretches)
    last = near if near.tokens <= exact.tokens / 2 else exact
    return Scored(method_name(last.horizon), min(1.0, allowance / last.tokens), last)


@dataclass(frozen=True)
class Step:
    """What credit takes of one GPU of many, in one step; tokens, bytes, seconds.

    Args:
        loss: Seconds of the loss and its backward.
        compute: Seconds of credit's forwards.
        gathered: Bytes of parameters that a forward receives.
        over: What receiving them takes, over what a forward computes.
        planning: Seconds of the host, before and between the forwards.
        company: Seconds of the all-reduces that keep forwards in step, at most: every rank's reading of logits at a
            time of its own.
        state: Bytes of weights, gradients and Adam.
        keys: Bytes of keys and values: kept, twice as many while the memory grows, and in the cache of a forward.
        host: Bytes of the host: a trie, and every row's ids.
        rows: Bytes that every rank receives of a draw of dynamic sampling.
        reading: Seconds that it unpickles them.
        records: Bytes that the main process receives if there is an observer.
        prices: Bytes that every rank receives of the others' prices.
    """

    tokens: float
    forwards: int
    loss: float
    compute: float
    gathered: float
    over: float
    planning: float
    company: float
    state: float
    keys: float
    host: float
    rows: float
    reading: float
    records: float
    prices: float


def step(batch: Batch, who: Policy, gpus: int, how: str, sharded: bool, at: GPU, most: int) -> Step:
    """Of one of `gpus`, whose groups are whole where there are enough prompts."""
    found, exact = scored(batch, who.vocab, how), batch.work(who.vocab)
    groups = batch.prompts / gpus
    work, share = found.work, groups * found.share
    speed = at.flops * at.used / 2  # a multiply-add is two
    loss = Need([Piece(0, work.size)] * batch.group, batch.group * batch.completion)
    compute = share * price(work.need(), who.prices) / speed
    forwards = ceil(share * parts_of([work], most, most))
    reads = ceil(share * work.asked / (LOGITS // who.vocab))
    gathered = BF16 * who.gathered * (gpus - 1) / gpus if sharded else 0.0
    tokens = share * work.tokens
    kept = 3 * work.size + most  # in a memory that doubles; what a forward reads of it, and adds
    reduce_ = 2 * (gpus - 1).bit_length() * at.hop
    rows = share * batch.group * (work.spans + 1) * work.size * at.pointer
    return Step(
        tokens=tokens,
        forwards=forwards,
        loss=groups * FORWARDS[False] * price(loss, who.prices) / speed,
        compute=compute,
        gathered=gathered,
        over=gathered / (at.inside if gpus <= at.node else at.across) / (compute / forwards),
        planning=tokens * at.planning,
        company=(forwards + gpus * reads) * reduce_ if sharded else 0.0,
        state=STATE * who.parameters / (gpus if sharded else 1),
        keys=kept * who.kept,
        host=min(tokens, MOST_NODES + work.tokens / batch.group) * at.planned + rows,
        rows=batch.rollouts * row_bytes(exact),
        reading=batch.rollouts * row_bytes(exact) / at.unpickled,
        records=batch.rollouts * record_bytes(exact, CHARACTERS),
        prices=gpus * price_bytes(exact, ceil(groups * batch.group)),
    )


def logits_bytes() -> int:
    """Of a chunk of logits in float32, whatever the vocabulary."""
    return LOGITS * 4
