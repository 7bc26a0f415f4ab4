"""Interventions: how a span is taken away from the text that the answer is predicted from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice

from transformers import PreTrainedTokenizerBase

from spancredit.errors import ModelError
from spancredit.names import Intervention
from spancredit.types import Rollout, Span

Range = tuple[int, int]


@dataclass(frozen=True)
class Row:
    """One sequence to score: prompt, completion up to the end of the answer, and perhaps one intervention.

    Args:
        input_ids: What the model reads. They end with the answer.
        scored: Half-open ranges of `input_ids` whose log-probability is asked for, in order; the answer's is the last.
        hidden: Range of `input_ids` that later tokens cannot attend to, or None. Hidden tokens keep their positions.
        resume: Position from which the text before the answer is read as in `original`: the intervention has changed
            what stands before it and will change the answer, but nothing between. None: it changes all that follows.
        original: Of a counterfactual, the clean row's `input_ids`.
        start: Of a counterfactual, the position from which it differs from the original.
    """

    input_ids: tuple[int, ...]
    scored: tuple[Range, ...]
    hidden: Range | None = None
    resume: int | None = None
    original: tuple[int, ...] | None = None
    start: int = 0

    @property
    def answer_start(self) -> int:
        return self.scored[-1][0]


def clean_row(rollout: Rollout, answer: Span) -> Row:
    """The rollout as it was sampled, up to the end of its answer."""
    offset = len(rollout.prompt_ids)
    ids = (*rollout.prompt_ids, *rollout.completion_ids[: answer.end])
    return Row(ids, ((offset + answer.start, offset + answer.end),))


def intervene(
    clean: Row, span: Range, intervention: Intervention, replacement: Sequence[int], horizon: int | None = None
) -> Row:
    """The counterfactual of one span, a range of the clean row's `input_ids`.

    `pad` and `filler` put `replacement`, repeated, in the span's place; `attention` hides the span; `delete` removes
    it, and what follows moves up (its positions are contiguous). Of what the clean row has scored, what stands after
    the span is scored here. With a horizon the intervention reaches that many tokens after the span, and the answer.
    """
    start, end = span
    moved = end - start if intervention == "delete" else 0
    scored = tuple((first - moved, last - moved) for first, last in clean.scored if first >= end)
    row = replace(clean, scored=scored, original=clean.input_ids, start=start)
    if intervention == "attention":
        row = replace(row, hidden=span)
    else:
        substitute = () if intervention == "delete" else tuple(islice(cycle(replacement), end - start))
        row = replace(row, input_ids=clean.input_ids[:start] + substitute + clean.input_ids[end:])
    if horizon is None or end + horizon >= row.answer_start - 1:
        return row
    return replace(row, resume=end + horizon)


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
