"""The self-check: it accepts scorers that equal the definition and refuses those that do not."""

import math

import pytest
import torch
from toy_models import MODELS, VOCAB, ToyLM, sabotaged, table_of, tiny, uneven_rows

import spancredit as sc
from spancredit.counterfactual.forward import eval_mode
from spancredit.counterfactual.interventions import Row
from spancredit.counterfactual.scorers import batched, packed, self_check, sequential

BROKEN = [
    (batched, "gpt2", "position_ids", lambda positions: positions + 1),
    (batched, "llama", "position_ids", lambda positions: 2 * positions),
    (batched, "llama", "attention_mask", lambda mask: mask.roll(1, dims=1)),
    (batched, "gemma2", "attention_mask", lambda mask: mask.roll(-1, dims=1)),
    (batched, "qwen2", "attention_mask", torch.ones_like),
    (packed, "gpt2", "position_ids", lambda positions: positions + 1),
    (packed, "llama", "position_ids", lambda positions: positions + (positions > 5)),
    (packed, "llama", "attention_mask", lambda mask: mask.roll(1, dims=-1)),
    (
        packed,
        "qwen2",
        "attention_mask",
        lambda masks: {name: mask.new_ones(mask.shape).tril() for name, mask in masks.items()},
    ),
    (packed, "gemma2", "attention_mask", lambda masks: dict.fromkeys(masks, masks["full_attention"])),
]


def greatest_difference(scorer, model, rows) -> float:
    with eval_mode(model):
        pairs = zip(scorer(model, rows, 1.0, 10_000), sequential(model, rows, 1.0, 10_000), strict=True)
        return max(abs(got - expected) for (got, _), (expected, _) in pairs)


@pytest.mark.parametrize("scorer", [batched, packed])
@pytest.mark.parametrize(("family", "dtype"), MODELS)
def test_self_check_accepts_a_sound_scorer(family, dtype, scorer):
    model = tiny(family, dtype)
    for row in uneven_rows():
        if row.hidden is None:
            self_check(model, row, scorer, 1.0, 10_000)


@pytest.mark.parametrize(("scorer", "family", "argument", "change"), BROKEN)
def test_a_planted_error_is_seen_by_the_comparison_and_by_self_check(scorer, family, argument, change):
    rows = [row for row in uneven_rows() if row.hidden is None]
    assert greatest_difference(scorer, tiny(family), rows) < 1e-4
    model = sabotaged(tiny(family), argument, change)
    assert greatest_difference(scorer, model, rows) > 1e-2
    for max_tokens in (1, 10_000):
        with pytest.raises(sc.ModelError, match=r"self-check failed.*nats.*sequential"):
            self_check(model, uneven_rows()[9], scorer, 1.0, max_tokens)


def test_self_check_allows_the_rounding_of_autocast():
    model, generator = tiny("qwen2"), torch.Generator().manual_seed(0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for _ in range(8):
            ids = tuple(torch.randint(1, VOCAB, (40,), generator=generator).tolist())
            self_check(model, Row(ids, 4), batched, 1.0, 10_000)


def test_self_check_stays_within_the_model_limit_and_leaves_non_finite_scores_alone():
    self_check(tiny("gpt2"), Row((5,) * 64, 2), batched, 1.0, 10_000)
    never = ToyLM(table_of({(5, 7): -math.inf}))
    self_check(never, Row((1, 5, 7), 1), batched, 1.0, 10_000)
