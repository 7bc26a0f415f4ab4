"""Interventions: how a span is taken away from the text that the answer is predicted from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from typing import Literal

from transformers import PreTrainedTokenizerBase

from spancredit.errors import ModelError
from spancredit.types import Rollout, Span

Intervention = Literal["pad", "attention", "delete", "filler"]


@dataclass(frozen=True)
class Row:
    """One sequence to score: prompt, completion up to the end of the answer, and perhaps one intervention.

    Args:
        input_ids: What the model reads. The answer is its last `answer_size` tokens.
        hidden: Range of `input_ids` that later tokens cannot attend to, or None. Hidden tokens keep their positions.
    """

    input_ids: tuple[int, ...]
    answer_size: int
    hidden: tuple[int, int] | None = None


def clean_row(rollout: Rollout, answer: Span) -> Row:
    """The rollout as it was sampled, up to the end of its answer."""
    return Row((*rollout.prompt_ids, *rollout.completion_ids[: answer.end]), answer.size)


def intervene(clean: Row, prompt_size: int, span: Span, intervention: Intervention, replacement: Sequence[int]) -> Row:
    """The counterfactual of one span.

    `pad` and `filler` put `replacement`, repeated, in the span's place; `attention` hides the span; `delete` removes
    it, and what follows moves up (its positions are contiguous).
    """
    start, end = prompt_size + span.start, prompt_size + span.end
    if intervention == "attention":
        return replace(clean, hidden=(start, end))
    substitute = () if intervention == "delete" else tuple(islice(cycle(replacement), end - start))
    return replace(clean, input_ids=clean.input_ids[:start] + substitute + clean.input_ids[end:])


def replacement_ids(
    intervention: Intervention, filler: str, tokenizer: PreTrainedTokenizerBase | None, pad_token_id: int | None
) -> list[int]:
    """The ids that stand in for a span: the pad token's for `pad`, the filler text's for `filler`, else none.

    Raises:
        ModelError: if there is no pad token, or no tokenizer to encode the filler.
    """
    if intervention == "pad":
        if pad_token_id is None:
            raise ModelError(
                "intervention 'pad' needs a pad token, but neither the tokenizer nor the model's config has one; "
                "set tokenizer.pad_token (its eos_token will do), or choose 'attention', 'delete' or 'filler'."
            )
        return [pad_token_id]
    if intervention == "filler":
        if tokenizer is None:
            raise ModelError("intervention 'filler' needs a tokenizer to encode its text; got None.")
        ids = tokenizer.encode(filler, add_special_tokens=False)
        if not ids:
            raise ModelError(f"intervention 'filler' needs at least one token; {filler!r} encodes to none.")
        return list(ids)
    return []
