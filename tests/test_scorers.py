"""The sequential scorer is the definition, checked by hand; every other scorer equals it."""

import math

import pytest
import torch
from toy_models import (
    MODELS,
    VOCAB,
    AllLogitsLM,
    IdsOnlyLM,
    NoPositionsLM,
    ToyLM,
    random_toy,
    record_calls,
    row_of,
    table_of,
    tiny,
    uneven_rows,
)

import spancredit as sc
from spancredit.counterfactual import projection
from spancredit.counterfactual.forward import eval_mode
from spancredit.counterfactual.interventions import clean_row, intervene, replacement_ids
from spancredit.counterfactual.packed import score_packed
from spancredit.counterfactual.scorers import SCORERS, batched, packed, sequential
from spancredit.types import Span

PAD, PROMPT, FILLER, FIRST, SECOND, ANSWER, MORE, EOS = 0, 1, 3, 5, 6, 7, 8, 9
ODDS = {(FIRST, ANSWER): 6, (SECOND, ANSWER): 3, (PAD, ANSWER): 2, (FILLER, ANSWER): 4}


def hand_model(kind: type[ToyLM] = ToyLM) -> ToyLM:
    """Each id multiplies the odds of the answer, 1 to 9 at first, by its factor."""
    return kind(table_of({index: math.log(factor) for index, factor in ODDS.items()}))


def logps(scorer, model, rows, temperature=1.0, max_tokens=10_000) -> list[float]:
    with eval_mode(model):
        return [logps[-1] for logps, _ in scorer(model, rows, temperature, max_tokens)]


@pytest.mark.parametrize("scorer", SCORERS)
@pytest.mark.parametrize("temperature", [1.0, 2.0, 0.5])
@pytest.mark.parametrize(
    ("intervention", "odds_left"),
    [("pad", (2 * 3, 6 * 2)), ("attention", (3, 6)), ("delete", (3, 6)), ("filler", (4 * 3, 6 * 4))],
)
def test_drops_equal_those_computed_by_hand(intervention, odds_left, temperature, scorer):
    model = hand_model()
    clean = clean_row(sc.Rollout([PROMPT], [FIRST, SECOND, ANSWER, EOS]), Span(2, 3, "answer"))
    replacement = {"pad": [PAD], "filler": [FILLER]}.get(intervention, [])
    masked = [intervene(clean, (1 + i, 2 + i), intervention, replacement) for i in (0, 1)]
    clean_logp, *masked_logps = logps(SCORERS[scorer], model, [clean, *masked], temperature)

    def probability(odds):
        return odds ** (1 / temperature) / (odds ** (1 / temperature) + 9)

    assert clean_logp == pytest.approx(math.log(probability(6 * 3)), abs=1e-9)
    for odds, logp in zip(odds_left, masked_logps, strict=True):
        assert clean_logp - logp == pytest.approx(math.log(probability(18) / probability(odds)), abs=1e-9)


def test_a_filler_of_several_tokens_is_repeated_and_cut_to_the_span():
    clean = row_of((1, 2, 3, 4, 5, 6, 7), 1)
    assert intervene(clean, (1, 6), "filler", [8, 9]).input_ids == (1, 8, 9, 8, 9, 8, 7)
    assert intervene(clean, (2, 4), "delete", []).input_ids == (1, 2, 5, 6, 7)
    assert intervene(clean, (2, 4), "attention", []).hidden == (2, 4)
    assert replacement_ids("attention", " ...", None, None) == []


def test_every_token_of_the_answer_is_scored_and_nothing_else():
    model = ToyLM(table_of({(FIRST, ANSWER): math.log(9), (ANSWER, MORE): math.log(4), (MORE, EOS): -50.0}))
    rollout = sc.Rollout([PROMPT], [FIRST, SECOND, ANSWER, MORE, EOS, PAD])
    by_hand = math.log(9 / (9 + 9)) + math.log(4 / (4 + 9 + 8))  # 9 stays the odds of ANSWER at the second token
    assert logps(sequential, model, [clean_row(rollout, Span(2, 4, "answer"))]) == [pytest.approx(by_hand)]


@pytest.mark.parametrize("max_tokens", [pytest.param(1, marks=pytest.mark.slow), 90, 10_000])
@pytest.mark.parametrize("scorer", [batched, packed])
@pytest.mark.parametrize(("family", "dtype"), MODELS)
def test_every_scorer_equals_sequential(family, dtype, scorer, max_tokens):
    model, rows = tiny(family, dtype), uneven_rows()
    expected = logps(sequential, model, rows, temperature=0.7)
    assert max(abs(expected[0] - masked) for masked in expected[1:9]) > 0.1
    got = logps(scorer, model, rows, temperature=0.7, max_tokens=max_tokens)
    assert got == pytest.approx(expected, rel=0, abs=1e-9 if dtype == torch.float64 else 1e-4)


@pytest.mark.parametrize("scorer", SCORERS)
def test_dropout_is_off_no_gradient_is_made_and_every_mode_is_restored(scorer):
    model = tiny("gpt2").train()
    model.transformer.h[0].eval()
    model.lm_head.eval()
    modes = [module.training for module in model.modules()]
    seen = []
    model.register_forward_pre_hook(lambda *_: seen.append((torch.is_grad_enabled(), model.training)))
    rows = uneven_rows()
    assert logps(SCORERS[scorer], model, rows) == logps(SCORERS[scorer], model, rows)
    assert set(seen) == {(False, False)}
    assert [module.training for module in model.modules()] == modes
    assert torch.is_grad_enabled()
    assert all(parameter.grad is None for parameter in model.parameters())


def test_every_mode_is_restored_when_the_model_raises():
    model = tiny("gpt2").train()
    model.transformer.h[1].eval()
    modes = [module.training for module in model.modules()]
    with pytest.raises(IndexError):
        logps(batched, model, [row_of((VOCAB + 5, 1, 2), 1)])
    assert [module.training for module in model.modules()] == modes
    assert torch.is_grad_enabled()


def test_a_model_without_position_ids_is_batched_at_equal_lengths_only():
    model, rows = random_toy(kind=NoPositionsLM), uneven_rows()
    calls = record_calls(model)
    got = logps(batched, model, rows)
    assert sorted({call["input_ids"].shape[1] for call in calls}) == sorted({len(row.input_ids) for row in rows})
    assert len(calls) == len({len(row.input_ids) for row in rows}) < len(rows)
    assert got == pytest.approx(logps(sequential, model, rows), abs=1e-9)


def test_hiding_a_span_from_a_model_without_attention_mask_is_refused():
    model, rows = random_toy(kind=IdsOnlyLM), uneven_rows()
    visible = [row for row in rows if row.hidden is None]
    assert logps(batched, model, visible) == pytest.approx(logps(sequential, random_toy(), visible), abs=1e-9)
    with pytest.raises(sc.ModelError, match="attention_mask; IdsOnlyLM does not"):
        logps(sequential, model, rows)


@pytest.mark.parametrize("scorer", SCORERS)
def test_a_model_that_ignores_logits_to_keep_gives_the_same(scorer):
    rows = uneven_rows()
    expected = logps(sequential, random_toy(), rows)
    assert logps(SCORERS[scorer], random_toy(kind=AllLogitsLM), rows) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("max_tokens", [1, 50, 100, 10_000])
def test_batched_cost_counts_padding_and_forwards_and_keeps_to_max_tokens(max_tokens):
    model, rows = random_toy(), uneven_rows()
    calls = record_calls(model)
    with eval_mode(model):
        total = sum((cost for _, cost in batched(model, rows, 1.0, max_tokens)), sc.Cost())
    sizes = [call["input_ids"].numel() for call in calls]
    assert total == sc.Cost(sum(sizes), len(calls))
    assert all(call["input_ids"].numel() <= max_tokens or len(call["input_ids"]) == 1 for call in calls)
    assert len(calls) == {1: len(rows), 10_000: 1}.get(max_tokens, len(calls))


def test_packed_recomputes_only_what_changes_and_keeps_to_max_tokens():
    model, rows = tiny("llama"), [row for row in uneven_rows()[-9:] if row.hidden is None]  # one rollout's
    distinct = {row.input_ids[:end] for row in rows for end in range(1, len(row.input_ids))}
    with eval_mode(model):
        whole, split = (sum((c for _, c in packed(model, rows, 1.0, most)), sc.Cost()) for most in (10_000, 60))
    assert whole.fallbacks == split.fallbacks == 0
    assert whole.forwards < split.forwards
    assert len(distinct) <= whole.tokens < sum(len(row.input_ids) for row in rows)
    assert split.tokens <= 60 * split.forwards


def test_rows_that_share_everything_are_computed_once():
    model, row = tiny("llama"), uneven_rows()[0]
    with eval_mode(model):
        scores = packed(model, [row] * 5, 1.0, 10_000)
    assert sum(cost.tokens for _, cost in scores) == len(row.input_ids) - 1
    assert len({logps for logps, _ in scores}) == 1


def stateful():
    model = tiny("llama")
    model.config.layer_types = ["full_attention", "linear_attention"]
    return model


@pytest.mark.parametrize("model", [random_toy(), stateful()])
def test_a_model_that_cannot_be_packed_is_batched_which_is_said_and_counted(model):
    rows = [row for row in uneven_rows() if row.hidden is None]
    with eval_mode(model), pytest.warns(UserWarning, match="cannot be packed"):
        scores = packed(model, rows, 1.0, 10_000)
    assert [got[-1] for got, _ in scores] == pytest.approx(logps(sequential, model, rows), abs=1e-4)
    assert all(cost.fallbacks == 1 for _, cost in scores)


def test_sequential_cost_is_one_unpadded_forward_a_row():
    rows = uneven_rows()
    with eval_mode(model := random_toy()):
        costs = [cost for _, cost in sequential(model, rows, 1.0, 1)]
    assert costs == [sc.Cost(len(row.input_ids), 1) for row in rows]


def test_log_softmax_is_computed_in_float32_for_a_half_precision_model():
    table = table_of({(FIRST, ANSWER): 3.0}).to(torch.bfloat16)
    by_hand = math.log(math.exp(3) / (math.exp(3) + 9))
    assert logps(sequential, ToyLM(table), [row_of((PROMPT, FIRST, ANSWER), 1)]) == [pytest.approx(by_hand, abs=1e-6)]


def test_a_row_that_is_not_finite_leaves_the_others_as_they_are():
    model, rows = tiny("llama"), [row_of((3, 4, 5, 6, 7, 8), 1), row_of((3, 9, 5, 6, 7, 8), 1)]
    with torch.no_grad():
        model.model.embed_tokens.weight[9] = math.nan
    sound, broken = logps(packed, model, rows)
    assert math.isfinite(sound)
    assert math.isnan(broken)
    with eval_mode(model):
        tried = [cost for _, cost in packed(model, rows, 1.0, 100)]
        alone = [cost for _, cost in score_packed(model, rows, 1.0, 100)]
    assert tried == [alone[0], alone[1] + sc.Cost(6, 1, fallbacks=1)], "what was tried in vain was computed, too"


def test_a_forward_that_was_wrapped_by_others_is_still_wrapped_afterwards(monkeypatch):
    monkeypatch.setattr(projection, "LOGITS", VOCAB)
    model = tiny("llama")
    wrapper = model.model.forward
    model.model.forward = wrapper
    logps(packed, model, uneven_rows())
    assert vars(model.model)["forward"] is wrapper
