"""Odd but possible input: every case has a defined outcome, a score or a named reason."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from input_for_tests import ROLLOUT, TEXT, own, read
from toy_models import INDEX, ToyLM, char_tokenizer, chat, ids_of, random_toy, record_calls, table_of

import spancredit as sc


@pytest.mark.parametrize(
    ("reason", "rollout"),
    [
        ("empty_completion", sc.Rollout([1], [])),
        ("all_padding", sc.Rollout([1], [0, 0, 0])),
        ("no_answer", chat("so 2 + 3 is what it is")),
        ("no_answer", chat("?")),
        ("no_answer", sc.Rollout([1], [1])),
        ("no_span", chat("#### 5")),
        ("no_span", chat("answer: 5")),
        ("no_loss_token", chat("1\n#### 1", loss_mask=[0] * 8)),
        ("zero_advantage", chat("1\n#### 1", advantage=-0.0)),
    ],
)
def test_what_cannot_be_scored_is_neutral_costs_nothing_and_says_why(reason, rollout):
    model = random_toy()
    calls = record_calls(model)
    credit = read(rollout, model=model)
    assert credit.reason == reason
    assert (credit.spans, credit.answer_logp, credit.cost, calls) == ((), None, sc.Cost(), [])
    assert credit.token_weights.tolist() == [1.0] * len(rollout.completion_ids)


def test_an_answer_at_position_0_has_no_span():
    pattern_reads_it = read(chat("5 is it"), answer_pattern=r"\d+")
    (given,) = own(spans=[[]], answers=[(0, 1)])
    for credit in (pattern_reads_it, given):
        assert (credit.answer.start, credit.answer.end, credit.reason) == (0, 1, "no_span")
    with pytest.raises(sc.RolloutError, match="before the answer"):
        own(spans=[[(0, 1)]], answers=[(0, 1)])


def test_of_two_answers_the_last_counts():
    text = "2 + 2 = 4\n#### 4\nno: 2 + 3 = 5\n#### 5"
    credit = read(chat(text))
    assert (credit.answer.start, credit.answer.text) == (len(text) - 1, "5")
    assert "#### 4" in "".join(span.text for span in credit.spans)


def test_end_of_sequence_and_padding_after_the_answer_change_nothing():
    bare, ended = chat(TEXT), sc.Rollout(ids_of("how many?"), [*ids_of(TEXT), INDEX["<eos>"], 0, 0])
    first, second = read(bare), read(ended)
    assert (first.answer, first.answer_logp, first.cost) == (second.answer, second.answer_logp, second.cost)
    assert [span.drop for span in first.spans] == [span.drop for span in second.spans]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_non_finite_logits_leave_their_rollout_neutral_and_the_others_scored(value):
    model = ToyLM(table_of({(5, 9): value, (6, 8): 2.0}))
    broken, sound = sc.Rollout([1], [5, 6, 9]), sc.Rollout([1], [6, 7, 8])
    first, second = own(model, [broken, sound], spans=[[(0, 1), (1, 2)]] * 2, answers=[(2, 3)] * 2)
    assert (first.reason, first.token_weights.tolist()) == ("non_finite", [1.0] * 3)
    assert first.cost != sc.Cost()
    assert second.reason is None
    assert second.spans[0].drop == pytest.approx(math.log(math.exp(2) / (math.exp(2) + 9) * 10))


@pytest.mark.parametrize("intervention", ["attention", "delete", "filler"])
def test_without_a_pad_token_the_other_interventions_work(intervention):
    no_pad = char_tokenizer(pad=False), random_toy(pad_token_id=None)
    credit = read(chat(TEXT), *no_pad, intervention=intervention)
    assert credit.reason in (None, "below_noise_floor")
    assert any(abs(span.drop) > 0.01 for span in credit.spans)


def test_the_pad_token_of_the_model_config_serves_where_the_tokenizer_has_none():
    from_config = read(chat(TEXT), char_tokenizer(pad=False), random_toy(pad_token_id=0))
    from_tokenizer = read(chat(TEXT), char_tokenizer(), random_toy(pad_token_id=9))
    assert [span.drop for span in from_config.spans] == [span.drop for span in from_tokenizer.spans]


def test_a_slow_tokenizer_gives_the_same_as_a_fast_one():
    slow, fast = (read(chat(TEXT), char_tokenizer(slow=slow), intervention="filler") for slow in (True, False))
    assert (slow.spans, slow.answer) == (fast.spans, fast.answer)
    assert len(slow.spans) > 1


def test_a_sequence_over_the_model_limit_is_neutral_and_one_at_the_limit_is_scored():
    size = len(chat(TEXT).prompt_ids) + len(TEXT)
    over, at = (read(chat(TEXT), model=random_toy(max_position_embeddings=limit)) for limit in (size - 1, size))
    assert (over.reason, over.cost) == ("over_model_limit", sc.Cost())
    assert at.cost.forwards >= 1


def test_no_rollout_gives_no_credit():
    assert sc.assign_credit(random_toy(), char_tokenizer(), []) == []


def test_tensors_serve_as_ids():
    rollout = sc.Rollout(torch.tensor([3, 4]), torch.tensor([5, 6, 7, 8, 9, 10]))
    (from_tensors,), (from_lists,) = own(rollouts=[rollout]), own()
    assert [span.drop for span in from_tensors.spans] == [span.drop for span in from_lists.spans]
    assert torch.equal(from_tensors.token_weights, from_lists.token_weights)


def test_tensors_of_ids_are_read_like_lists():
    ids = [*ids_of(TEXT), INDEX["<eos>"]]
    prompt, suffix, value = ids_of("how many?"), ids_of("so?"), ids_of("5")
    for probe, probe_of_tensors in [
        (None, None),
        (sc.Probe(suffix, value), sc.Probe(torch.tensor(suffix), torch.tensor(value))),
    ]:
        from_lists = read(sc.Rollout(prompt, ids, probe=probe))
        from_tensors = read(sc.Rollout(torch.tensor(prompt), torch.tensor(ids), probe=probe_of_tensors))
        assert from_tensors.spans == from_lists.spans
        assert (from_tensors.answer, from_tensors.cost) == (from_lists.answer, from_lists.cost)


@pytest.mark.parametrize("made", [np.array, torch.tensor, lambda rows: [list(map(np.int64, row)) for row in rows]])
def test_arrays_and_tensors_serve_as_ranges(made):
    (given,), (plain,) = own(spans=[made([[0, 2], [2, 4]])], answers=made([[5, 6]])), own()
    assert (given.spans, given.answer) == (plain.spans, plain.answer)
    assert {type(at) for span in given.spans for at in (span.start, span.end, given.answer.start)} == {int}
    (of_spans,) = own(spans=[[sc.Span(*pair, "mine") for pair in made([[0, 2], [2, 4]])]])
    assert {type(at) for span in of_spans.spans for at in (span.start, span.end)} == {int}


@pytest.mark.parametrize(
    "made", [np.array, torch.tensor, lambda mask: list(map(np.bool_, mask)), lambda mask: iter(mask)]
)
def test_arrays_and_tensors_serve_as_masks(made):
    mask = [1, 1, 1, 0, 1, 1]
    given, plain = (own(rollouts=[replace(ROLLOUT, loss_mask=one)])[0] for one in (made(mask), mask))
    assert torch.equal(given.token_weights, plain.token_weights)
    assert not torch.equal(plain.token_weights, own()[0].token_weights)


@pytest.mark.parametrize("advantage", [np.float32(-1), torch.tensor(-1.0)])
def test_an_advantage_may_be_of_numpy_or_torch(advantage):
    given, plain = (own(rollouts=[replace(ROLLOUT, advantage=one)])[0] for one in (advantage, -1.0))
    assert torch.equal(given.token_weights, plain.token_weights)


def test_rollouts_may_come_one_by_one():
    assert [credit.spans for credit in own(rollouts=(one for one in [ROLLOUT]))] == [own()[0].spans]
