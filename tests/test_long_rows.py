"""Rows beyond the ceiling, long completions, one span and two hundred: no error, bounded forwards, same numbers."""

import gc
import random
from itertools import pairwise

import pytest
from toy_models import VOCAB, record_calls, tiny
from transformers import DynamicCache

import spancredit as sc
from spancredit.counterfactual import packed as packed_module
from spancredit.counterfactual.forward import eval_mode
from spancredit.counterfactual.interventions import clean_row, intervene
from spancredit.counterfactual.projection import logits_of
from spancredit.counterfactual.scorers import packed, sequential
from spancredit.types import Span


def long_case(size: int, count: int) -> tuple[sc.Rollout, list[tuple[int, int]], tuple[int, int]]:
    draw = random.Random(size)
    ids = [draw.randrange(1, VOCAB) for _ in range(20 + size)]
    cuts = [round(k * (size - 4) / count) for k in range(count + 1)]
    return sc.Rollout(ids[:20], ids[20:]), list(pairwise(cuts)), (size - 3, size)


@pytest.mark.slow
@pytest.mark.parametrize(("size", "count", "most"), [(600, 200, 128), (600, 1, 50), (600, 7, 10_000)])
@pytest.mark.parametrize("intervention", ["pad", "attention"])
def test_many_spans_and_rows_beyond_the_ceiling_give_the_same_numbers(size, count, most, intervention):
    model = tiny("llama", positions=1024)
    rollout, spans, (start, end) = long_case(size, count)
    clean = clean_row(rollout, Span(start, end, "answer"))
    rows = [clean, *(intervene(clean, (20 + a, 20 + b), intervention, [0]) for a, b in spans)]
    some = sorted({0, 1, len(rows) // 2, len(rows) - 1})
    calls = record_calls(model)
    with eval_mode(model):
        got = packed(model, rows, 1.0, most)
        assert all(call["input_ids"].numel() <= most for call in calls)
        exact = sequential(model, [rows[i] for i in some], 1.0, 0)
    for i, (logps, _) in zip(some, exact, strict=True):
        assert got[i][0] == pytest.approx(logps, abs=1e-4)


def test_no_forwards_keys_and_values_outlive_it(monkeypatch):
    """What waits for the output head is the states of the tokens that are asked, and nothing that hangs on them."""
    model, (rollout, spans, answer) = tiny("llama", positions=1024), long_case(600, 60)
    alive = []

    def count(of_model, states):
        gc.collect()
        alive.append(sum(type(one) is DynamicCache for one in gc.get_objects()))
        return logits_of(of_model, states)

    monkeypatch.setattr(packed_module, "logits_of", count)
    config = sc.CreditConfig(max_tokens_per_forward=128)
    (credit,) = sc.assign_credit(model, None, [rollout], config, spans=[spans], answers=[answer])
    assert credit.cost.forwards > 20
    assert max(alive) <= 1


@pytest.mark.slow
def test_a_completion_of_8k_tokens_is_scored_through_assign_credit():
    model = tiny("llama", positions=16_384)
    rollout, spans, answer = long_case(8_192, 3)
    calls = record_calls(model)
    credits = {
        scorer: sc.assign_credit(
            model,
            None,
            [rollout],
            sc.CreditConfig(scorer=scorer, max_tokens_per_forward=1_000),
            spans=[spans],
            answers=[answer],
        )[0]
        for scorer in ("packed", "sequential")
    }
    in_parts = [call for call in calls if "past_key_values" in call]
    assert in_parts
    assert all(call["input_ids"].numel() <= 1_000 for call in in_parts)
    drops = [[span.drop for span in credits[scorer].spans] for scorer in ("packed", "sequential")]
    assert drops[0] == pytest.approx(drops[1], abs=1e-4)
    assert credits["packed"].cost.fallbacks == 0


@pytest.mark.parametrize("horizon", [None, 8])
def test_rollouts_beyond_what_a_trie_may_hold_go_into_another_with_the_same_numbers(monkeypatch, horizon):
    model, prompt = tiny("llama", positions=256), list(range(1, 21))
    rows, sizes = [], []
    for nth, (count, size) in enumerate(((4, 60), (9, 90), (1, 30), (6, 60))):
        rollout, spans, (start, end) = long_case(size + nth, count)
        clean = clean_row(sc.Rollout(prompt, rollout.completion_ids), Span(start, end, "answer"))
        rows += [clean, *(intervene(clean, (20 + a, 20 + b), "pad", [0], horizon) for a, b in spans)]
        sizes.append(1 + count)
    tries: list[packed_module.Trie] = []

    class Noted(packed_module.Trie):
        def __init__(self):
            super().__init__()
            tries.append(self)

    monkeypatch.setattr(packed_module, "Trie", Noted)
    with eval_mode(model):
        whole = packed(model, rows, 1.0, 128)
        (together,) = tries
        most = len(together) // 3
        monkeypatch.setattr(packed_module, "MOST_NODES", most)
        split = packed(model, rows, 1.0, 128)
    _, *tries = tries
    largest = max(sum(cost.tokens for _, cost in split[sum(sizes[:i]) : sum(sizes[: i + 1])]) for i in range(4))
    assert len(tries) > 1
    assert all(len(some) <= most + largest for some in tries)
    again = sum(len(some) for some in tries) - len(together)
    assert len(prompt) * (len(tries) - 1) <= again < (len(prompt) + 30) * (len(tries) - 1)  # and pads of a first span
    assert {len(some.answers) for some in tries} <= {sum(sizes[a:b]) for a in range(4) for b in range(a + 1, 5)}
    assert sum((cost for _, cost in split), sc.Cost()).tokens >= sum(map(len, tries))
    for (logps, _), (expected, _) in zip(split, whole, strict=True):
        assert logps == pytest.approx(expected, abs=1e-4)
