"""Cheap signals for the credit of a span that need no counterfactual, to compare exact drops with.

clean rows -> batches, one forward each (and for `gradient` a backward) -> a value for each token -> one for each span
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from spancredit.counterfactual.forward import accepts, device_of, inner, learns_prompt, share_forwards, token_logps
from spancredit.counterfactual.interventions import Row, intervene
from spancredit.counterfactual.lockstep import Kind, keep_step
from spancredit.counterfactual.projection import LOGITS, selected_logits, trunk_of
from spancredit.counterfactual.sharded import is_sharded
from spancredit.errors import ModelError
from spancredit.types import Cost

PROBABILITIES = 2**30  # most attention probabilities at once: 2 GB of bfloat16
Signal = tuple[torch.Tensor, torch.Tensor]  # (B, L) each, on the CPU: tokens' log-probabilities, and their values


def score_proxy(
    model: Any, name: str, rows: Sequence[Row], replacement: Sequence[int], temperature: float, max_tokens: int
) -> list[tuple[tuple[float, ...], Cost]]:
    """For each clean row a number for each of its spans, then the answer's log-probability (nats), and what it took.

    Rows of similar length share a forward, left-padded, of at most `max_tokens` with the padding (fewer where their
    attention probabilities would not fit). It counts at the first of its rows; a backward counts as the tokens of two
    more forwards, and needs the memory of one in training. The caller sees to eval mode and no_grad: `eval_mode`.

    Args:
        name: What the number is.
            `surprisal`: mean over the span's tokens of -log p(token), in nats per token.
            `entropy`: mean over the span's tokens of the entropy of what the token was drawn from, in nats per token.
            `attention`: share of the answer's attention that falls on the span: probabilities summed over its tokens,
            their mean over heads, the layers that give any, and the positions that the answer is predicted from.
            `gradient`: first-order estimate of the answer's drop, signed, in nats: over the span's tokens, the sum of
            the gradient of the answer's log-probability in the embedding times what replacing it takes away from it.
        rows: Clean rows that have their spans scored, and last the answer.
        replacement: For `gradient`, the ids that stand in for a span, repeated; the embedding is 0 if there are none.
        temperature: Of sampling. It applies to every log-probability and entropy.

    Raises:
        ModelError: if the model gives no attention probabilities or has no layer of input embeddings, or its adapter
            learns a prompt.
    """
    if not rows:
        return []
    if learns_prompt(model):
        raise ModelError(
            f"'{name}' is read at the places of a row's tokens, and an adapter that learns a prompt puts its own "
            "before them; expected another adapter, or a mode and a scorer that take spans away."
        )
    most = min(max_tokens, _most_attending(model, rows)) if name == "attention" else max_tokens
    alike = name == "attention" and next(model.parameters()).dtype == torch.float64  # eager is NaN on padding there
    scores: list[tuple[tuple[float, ...], Cost]] = [((), Cost())] * len(rows)
    for indices in share_forwards(model, rows, most, alike):
        batch = [rows[i] for i in indices]
        logps_BL, values_BL = SIGNALS[name](model, batch, replacement, temperature)
        cost = Cost(logps_BL.shape[1] * (3 if name == "gradient" else 1))
        for nth, (i, row) in enumerate(zip(indices, batch, strict=True)):
            size = len(row.input_ids)
            logps_L, values_L = logps_BL[nth, -size:], values_BL[nth, -size:]
            spans = [values_L[start:end] for start, end in row.scored[:-1]]
            numbers = [span.mean() if name in ("surprisal", "entropy") else span.sum() for span in spans]
            answer_logp = logps_L[row.answer_start :].sum()
            scores[i] = tuple(map(float, (*numbers, answer_logp))), cost + Cost(forwards=int(nth == 0))
    return scores


def _surprisal(model: Any, rows: Sequence[Row], replacement: Sequence[int], temperature: float) -> Signal:
    return _forward(model, rows, temperature)


def _entropy(model: Any, rows: Sequence[Row], replacement: Sequence[int], temperature: float) -> Signal:
    def entropies(logits_NV: torch.Tensor, logps_N: torch.Tensor) -> torch.Tensor:
        return torch.special.entr((logits_NV.to(logps_N.dtype) / temperature).softmax(-1)).sum(-1)

    return _forward(model, rows, temperature, entropies)


def _attention(model: Any, rows: Sequence[Row], replacement: Sequence[int], temperature: float) -> Signal:
    outputs: list[Any] = []
    with _eager_attention(model), model.register_forward_hook(lambda *given: outputs.append(given[-1])):
        logps_BL, _ = _forward(model, _answers(rows), temperature, output_attentions=True)
    given = [layer for output in outputs for layer in getattr(output, "attentions", None) or ()]
    layers = [layer for layer in given if layer is not None]
    if not layers:
        raise _no_attentions(model)
    shares_BL = torch.zeros_like(logps_BL)
    for b, row in enumerate(rows):
        predicting = slice(row.answer_start - len(row.input_ids) - 1, -1)
        shares_BL[b] = torch.stack([layer[b, :, predicting].float().mean((0, 1)).cpu() for layer in layers]).mean(0)
    return logps_BL, shares_BL


def _gradient(model: Any, rows: Sequence[Row], replacement: Sequence[int], temperature: float) -> Signal:
    """The embeddings are what the layer gives, as `inputs_embeds` are: scaled where a family scales them there.

    Each chunk of logits goes back as far as the top of the trunk, and the sum of the chunks from there, once.
    """
    if not hasattr(model, "get_input_embeddings"):
        raise ModelError(f"proxy 'gradient' needs a model with get_input_embeddings; {type(model).__name__} has none.")
    if is_sharded(model):
        raise ModelError("proxy 'gradient' needs a backward over whole weights; the policy's are sharded.")
    embed, trunk = model.get_input_embeddings(), trunk_of(model)
    embeddings: list[torch.Tensor] = []
    tops: list[torch.Tensor] = []
    slopes: list[torch.Tensor] = []

    def cut(module: Any, args: Any, output: torch.Tensor) -> torch.Tensor:
        embeddings.append(output.detach().requires_grad_())
        return embeddings[0]

    def lead_back(logits_NV: torch.Tensor, logps_N: torch.Tensor) -> torch.Tensor:
        (slope,) = torch.autograd.grad(logps_N.sum(), tops[:1] or embeddings[:1], retain_graph=True)
        slopes[:] = [slope + slopes[0] if slopes else slope]
        return logps_N

    hook = trunk.register_forward_hook(lambda *given: tops.append(given[-1].last_hidden_state)) if trunk else None
    with torch.enable_grad(), embed.register_forward_hook(cut), hook or nullcontext():
        logps_BL, _ = _forward(model, _answers(rows), temperature, lead_back)
        slope_BLH = torch.autograd.grad(tops[0], embeddings[:1], slopes)[0] if tops else slopes[0]
    lost_BLH = embeddings[0].detach()
    if replacement:
        lost_BLH = lost_BLH - embed(_padded([_replaced(row, replacement) for row in rows]).to(lost_BLH.device))
    wide = torch.promote_types(lost_BLH.dtype, torch.float32)
    return logps_BL, (slope_BLH.to(wide) * lost_BLH.to(wide)).sum(-1).cpu()


SIGNALS = {"surprisal": _surprisal, "entropy": _entropy, "attention": _attention, "gradient": _gradient}


def _forward(
    model: Any,
    rows: Sequence[Row],
    temperature: float,
    measure: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = lambda logits_NV, logps_N: -logps_N,
    **options: Any,
) -> Signal:
    """One forward: the log-probability of every token that the rows have scored, and what `measure` says of it; else 0.

    `measure` is given the logits that predict some of these tokens, and their log-probabilities.
    """
    ids_BL, device = _padded(rows), device_of(model)
    width = ids_BL.shape[1]
    pads_B = [width - len(row.input_ids) for row in rows]
    inputs = {"input_ids": ids_BL.to(device)} | options | ({"use_cache": False} if accepts(model, "use_cache") else {})
    if any(pads_B):
        positions_BL = torch.arange(width) - torch.tensor(pads_B)[:, None]
        inputs["attention_mask"] = (positions_BL >= 0).long().to(device)
        inputs["position_ids"] = positions_BL.clamp(min=0).to(device)
    scored_BL = torch.zeros_like(ids_BL, dtype=torch.bool)
    for b, (row, pads) in enumerate(zip(rows, pads_B, strict=True)):
        for start, end in row.scored:
            scored_BL[b, pads + start : pads + end] = True
    rows_N, places_N = scored_BL.nonzero(as_tuple=True)
    targets_N = ids_BL[scored_BL].to(device)
    logps_BL = torch.zeros(ids_BL.shape, dtype=torch.float64)
    values_BL = torch.zeros_like(logps_BL)
    done = 0
    for logits_NV in _logits(model, inputs, rows_N.to(device), places_N.to(device) - 1):
        chunk = slice(done, done + len(logits_NV))
        logps_N = token_logps(logits_NV, targets_N[chunk], temperature)
        values_BL[rows_N[chunk], places_N[chunk]] = measure(logits_NV, logps_N).detach().cpu().double()
        logps_BL[rows_N[chunk], places_N[chunk]] = logps_N.detach().cpu().double()
        done = chunk.stop
    return logps_BL, values_BL


def _logits(model: Any, inputs: dict[str, Any], rows_N: torch.Tensor, places_N: torch.Tensor) -> Iterator[torch.Tensor]:
    """Logits of these places in chunks. A model without a trunk, or whose trunk gives a state too, makes them all."""
    if trunk_of(model) is not None:
        yield from selected_logits(model, inputs, rows_N, places_N)
    else:
        keep_step(Kind.FORWARD)
        logits_NV = model(**inputs).logits[rows_N, places_N]
        yield from logits_NV.split(max(1, LOGITS // logits_NV.shape[-1]))


def _padded(rows: Sequence[Row]) -> torch.Tensor:
    return pad_sequence([torch.tensor(row.input_ids) for row in rows], batch_first=True, padding_side="left")


def _answers(rows: Sequence[Row]) -> list[Row]:
    return [replace(row, scored=row.scored[-1:]) for row in rows]


def _replaced(row: Row, replacement: Sequence[int]) -> Row:
    for span in row.scored[:-1]:
        row = intervene(row, span, "filler", replacement)
    return row


def _most_attending(model: Any, rows: Sequence[Row]) -> int:
    """Most tokens, in rows as long as the longest, whose attention probabilities are held at once."""
    if not isinstance(inner(model), PreTrainedModel):
        raise _no_attentions(model)
    text = model.config.get_text_config()
    heads = text.num_hidden_layers * getattr(text, "num_attention_heads", 1)
    return PROBABILITIES // (heads * max(len(row.input_ids) for row in rows))


def _no_attentions(model: Any) -> ModelError:
    return ModelError(
        f"proxy 'attention' got no attention probabilities from {type(model).__name__}; expected a transformers model "
        "that gives them under eager attention when it is called with output_attentions=True."
    )


@contextmanager
def _eager_attention(model: Any) -> Iterator[None]:
    before = model.config._attn_implementation
    model.config._attn_implementation = "eager"
    try:
        yield
    finally:
        model.config._attn_implementation = before
