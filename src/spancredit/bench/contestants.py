"""What is timed: one policy forward, the published implementation's cost, and credit under each setting."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from spancredit.bench.floor import Item
from spancredit.bench.work import Work
from spancredit.config import CreditConfig
from spancredit.counterfactual.forward import accepts, device_of
from spancredit.credit import assign_credit
from spancredit.errors import ConfigError
from spancredit.types import Credit

Contestant = Callable[[], Any]
LOGITS = 2**30  # most logits of a policy forward at once; beyond it the batch is halved, as a trainer would


def policy_forward(model: Any, items: Sequence[Item]) -> Contestant:
    """The padded batch as TRL makes it (prompts on the left, completions on the right), and the logits of every
    completion token. Inputs are made and moved beforehand."""
    prompt = max(len(item.prompt_ids) for item in items)
    size = max(len(item.completion_ids) for item in items)
    ids_BL = torch.zeros(len(items), prompt + size, dtype=torch.long)
    mask_BL = torch.zeros_like(ids_BL)
    for b, item in enumerate(items):
        start, end = prompt - len(item.prompt_ids), prompt + len(item.completion_ids)
        ids_BL[b, start:end] = torch.tensor([*item.prompt_ids, *item.completion_ids])
        mask_BL[b, start:end] = 1
    ids_BL, mask_BL = ids_BL.to(device_of(model)), mask_BL.to(device_of(model))
    rows = max(1, LOGITS // (size * model.config.get_text_config().vocab_size))
    options: dict[str, Any] = {"use_cache": False}
    if accepts(model, "logits_to_keep"):
        options["logits_to_keep"] = size + 1

    @torch.no_grad()
    def run() -> None:
        for start in range(0, len(items), rows):
            here = slice(start, start + rows)
            model(input_ids=ids_BL[here], attention_mask=mask_BL[here], **options)

    return run


def published(model: Any, items: Sequence[Item], pad: int) -> Contestant:
    """Our re-creation of what the published implementation computes, for its cost alone; its numbers are not kept.

    For each rollout one forward of 1 + K full rows, padded like the batch, without a mask; logits of every position,
    and a log-softmax over the whole vocabulary for each.
    """
    prompt = max(len(item.prompt_ids) for item in items)
    size = max(len(item.completion_ids) for item in items)

    def rows_of(item: Item) -> torch.Tensor:
        left, right = prompt - len(item.prompt_ids), size - len(item.completion_ids)
        row_L = torch.tensor([pad] * left + [*item.prompt_ids, *item.completion_ids] + [pad] * right)
        rows_BL = row_L.repeat(1 + len(item.spans), 1)
        for b, (start, end) in enumerate(item.spans, start=1):
            rows_BL[b, prompt + start : prompt + end] = pad
        return rows_BL

    @torch.no_grad()
    def run() -> None:
        for item in items:
            rows_BL = rows_of(item).to(device_of(model))
            logits_BLV = model(input_ids=rows_BL, use_cache=False).logits
            logps_BLV = torch.log_softmax(logits_BLV[:, :-1], dim=-1)
            logps_BL = logps_BLV.gather(-1, rows_BL[:, 1:, None]).squeeze(-1)
            logps_BL[:, prompt + item.answer[0] - 1 : prompt + item.answer[1] - 1].sum(1).tolist()

    return run


def published_bytes(model: Any, items: Sequence[Item]) -> int:
    """Bytes of the logits and their log-softmax in the published implementation's largest forward."""
    rows = 1 + max(len(item.spans) for item in items)
    width = max(len(item.prompt_ids) for item in items) + max(len(item.completion_ids) for item in items)
    vocab, dtype = model.config.get_text_config().vocab_size, next(model.parameters()).dtype
    return 2 * rows * width * int(vocab) * dtype.itemsize


def credit(model: Any, work: Work, config: CreditConfig) -> Callable[[], list[Credit]]:
    """`assign_credit`, from ids to token weights. Where it has a tokenizer it finds spans and answers in the text."""
    rollouts, ranges = work.rollouts, work.ranges
    return lambda: assign_credit(model, work.tokenizer, rollouts, config, **ranges)


def drops_of(credits: Sequence[Credit]) -> list[float]:
    """The drops of all spans of all rollouts, in nats.

    Raises:
        ConfigError: if a rollout could not be scored.
    """
    for i, one in enumerate(credits):
        if not one.spans:
            raise ConfigError(f"rollout {i} could not be scored ({one.reason}); expected work that the model can read.")
    return [span.drop for one in credits for span in one.spans]
