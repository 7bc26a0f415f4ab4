"""The self-check: it accepts scorers that equal the definition and refuses those that do not."""

import math

import pytest
import torch
from toy_models import (
    MODELS,
    VOCAB,
    ToyLM,
    char_tokenizer,
    chat,
    record_calls,
    row_of,
    sabotaged,
    table_of,
    tiny,
    uneven_rows,
)

import spancredit as sc
from spancredit.counterfactual.forward import eval_mode
from spancredit.counterfactual.interventions import Row
from spancredit.counterfactual.scorers import CHECKED, SCORERS, score_rows, sequential

BROKEN = [
    ("batched", "gpt2", "position_ids", lambda positions: positions + 1),
    ("batched", "llama", "position_ids", lambda positions: 2 * positions),
    ("batched", "llama", "attention_mask", lambda mask: mask.roll(1, dims=1)),
    ("batched", "gemma2", "attention_mask", lambda mask: mask.roll(-1, dims=1)),
    ("batched", "qwen2", "attention_mask", torch.ones_like),
    ("packed", "gpt2", "position_ids", lambda positions: positions + 1),
    ("packed", "llama", "position_ids", lambda positions: positions + (positions > 5)),
    ("packed", "llama", "attention_mask", lambda mask: mask.roll(1, dims=-1)),
    (
        "packed",
        "qwen2",
        "attention_mask",
        lambda masks: {name: mask.new_ones(mask.shape).tril() for name, mask in masks.items()},
    ),
    ("packed", "gemma2", "attention_mask", lambda masks: dict.fromkeys(masks, masks["full_attention"])),
]


def jobs() -> list[list[Row]]:
    """The three rollouts of `uneven_rows`, without the rows that hide a span."""
    rows = uneven_rows()
    return [[row for row in rows[i : i + 9] if row.hidden is None] for i in range(0, len(rows), 9)]


def check(model, scorer: str, max_tokens: int = 10_000, given: list[list[Row]] | None = None):
    with eval_mode(model):
        return score_rows(model, given or jobs(), scorer, 1.0, max_tokens)


def greatest_difference(scorer, model) -> float:
    rows = [row for job in jobs() for row in job]
    with eval_mode(model):
        pairs = zip(SCORERS[scorer](model, rows, 1.0, 10_000), sequential(model, rows, 1.0, 10_000), strict=True)
        return max(abs(got[-1] - expected[-1]) for (got, _), (expected, _) in pairs)


@pytest.mark.parametrize("scorer", ["batched", "packed"])
@pytest.mark.parametrize(("family", "dtype"), MODELS)
def test_a_sound_scorer_passes_and_is_checked_once_alone_and_once_in_company(family, dtype, scorer):
    model = tiny(family, dtype)
    calls = record_calls(model)
    single = [row.input_ids for job in (jobs()[0], jobs()[-1]) for row in job]
    for given, expected in ((jobs()[:1], 4), (jobs()[:1], 0), (jobs(), 8), (jobs(), 0)):
        before = len(calls)
        scores = check(model, scorer, given=given)
        forwards = sum(cost.forwards for job in scores for _, cost in job)
        assert forwards == len(calls) - before - expected
        alone = [call for call in calls[before:] if tuple(call["input_ids"][0].tolist()) in single]
        assert len([call for call in alone if len(call["input_ids"]) == 1]) >= expected


@pytest.mark.parametrize(("scorer", "family", "argument", "change"), BROKEN)
def test_a_planted_error_is_seen_by_the_comparison_and_by_the_check(scorer, family, argument, change):
    assert greatest_difference(scorer, tiny(family)) < 1e-4
    model = sabotaged(tiny(family), argument, change)
    assert greatest_difference(scorer, model) > 1e-2
    with pytest.raises(sc.ModelError, match=rf"self-check failed: {scorer} gives .* nats, sequential"):
        check(model, scorer)


def test_assign_credit_refuses_a_scorer_that_is_wrong_for_the_model():
    model = sabotaged(tiny("gpt2"), "position_ids", lambda positions: positions + 1)
    with pytest.raises(sc.ModelError, match="self-check failed"):
        sc.assign_credit(model, char_tokenizer(), [chat("2 + 3 = 5 eggs.\n#### 5"), chat("1\n#### 1")])


def test_the_check_allows_the_rounding_of_autocast():
    model, generator = tiny("qwen2"), torch.Generator().manual_seed(0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for _ in range(8):
            ids = tuple(torch.randint(1, VOCAB, (40,), generator=generator).tolist())
            CHECKED.pop(model, None)
            check(model, "batched", given=[[row_of(ids, 4), row_of(ids[:9], 4)], [row_of(ids[3:], 4)]])


def test_scores_that_are_not_finite_are_left_alone_and_checked_next_time():
    never = ToyLM(table_of({(5, 7): -math.inf}))
    check(never, "batched", given=[[row_of((1, 5, 7), 1)]])
    assert not CHECKED[never]
    check(never, "batched", given=[[row_of((1, 5, 6), 1)]])
    assert CHECKED[never]
