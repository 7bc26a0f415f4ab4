"""The public API: credits that are conserved, matched between the modes, and never silently neutral."""

import math
from statistics import mean

import pytest
import torch
from toy_models import ToyLM, char_tokenizer, chat, random_toy, record_calls, table_of, tiny

import spancredit as sc
from spancredit.training.metrics import merge, tally

TEXT = "so 2 + 3 = 5. then 5 + 4 = 9. fine.\n#### 9"
WEIGHTED = ("counterfactual", "inverted", "random")
MARKER = TEXT.index("#")  # a token of neither span nor answer: 1 before conservation

PAD, PROMPT, HELPS, BARELY, HURTS, ANSWER = 0, 1, 2, 3, 4, 7
FACTORS = {HELPS: 9, BARELY: 1.02, HURTS: 1 / 3}


def hand_model(**config) -> ToyLM:
    """Each id multiplies the odds of ANSWER, 1 to 9 at first, by its factor."""
    return ToyLM(table_of({(token, ANSWER): math.log(factor) for token, factor in FACTORS.items()}), **config)


def log_odds(odds: float) -> float:
    return math.log(odds / (odds + 9))


def own(tokens=(HELPS, BARELY, HURTS, 5, ANSWER), prompt=(PROMPT,), **more):
    """A rollout of one-token spans, a token of neither, and an answer; its spans; its answer."""
    size = len(tokens)
    return sc.Rollout(prompt, tokens, **more), [(i, i + 1) for i in range(size - 2)], (size - 1, size)


def assign(model, *cases, allowance=None, **config) -> list[sc.Credit]:
    rollouts, spans, answers = zip(*cases, strict=True)
    ranges = {"spans": spans, "answers": answers}
    return sc.assign_credit(model, None, rollouts, sc.CreditConfig(**config), **ranges, allowance=allowance)


def read(text=TEXT, model=None, **config) -> sc.Credit:
    model = model or random_toy(seed=3)
    return sc.assign_credit(model, char_tokenizer(), [chat(text, advantage=1.0)], sc.CreditConfig(**config))[0]


def test_own_ranges_need_no_tokenizer_and_give_hand_computed_drops():
    (credit,) = assign(hand_model(), own(advantage=1.0), conserve=False)
    clean = 9 * 1.02 / 3
    drops = [log_odds(clean) - log_odds(clean / FACTORS[token]) for token in (HELPS, BARELY, HURTS)]
    assert credit.answer_logp == pytest.approx(log_odds(clean))
    assert [span.drop for span in credit.spans] == pytest.approx(drops)
    assert drops[0] > 1.05
    assert 0 < drops[1] < 0.05
    assert drops[2] < -0.5
    assert [span.importance for span in credit.spans] == [1.0, 0.0, 0.0]
    assert credit.token_weights.tolist() == [2.0, 0.5, 0.5, 1.0, 1.5]
    assert [(span.start, span.end, span.weight) for span in credit.spans] == [(0, 1, 2.0), (1, 2, 0.5), (2, 3, 0.5)]
    assert (credit.answer.start, credit.answer.end, credit.reason) == (4, 5, None)


def test_with_a_tokenizer_spans_and_answer_are_found_in_the_text():
    credit = read()
    assert [span.text for span in credit.spans] == ["so ", "2 + 3 = 5.", " then ", "5 + 4 = 9.", " fine.\n"]
    assert [span.kind for span in credit.spans][1::2] == ["calculation", "calculation"]
    assert (credit.answer.text, credit.answer.start, credit.reason) == ("9", len(TEXT) - 1, None)
    assert all(TEXT[span.start : span.end] == span.text for span in credit.spans)


def test_own_spans_or_own_answers_alone_leave_the_other_to_the_text():
    rollout, tokenizer = chat(TEXT), char_tokenizer()
    (given_spans,) = sc.assign_credit(random_toy(), tokenizer, [rollout], spans=[[(0, 4), (9, 12)]])
    assert [span.text for span in given_spans.spans] == [TEXT[0:4], TEXT[9:12]]
    assert given_spans.answer.text == "9"
    (given_answer,) = sc.assign_credit(random_toy(), tokenizer, [rollout], answers=[(11, 12)])
    assert given_answer.answer.text == "5"
    assert [span.text for span in given_answer.spans] == ["so ", "2 + 3 = "]


def test_weights_are_float32_of_the_completion_and_conserved():
    for mode in WEIGHTED:
        weights = read(mode=mode).token_weights
        assert (weights.dtype, weights.shape, weights.requires_grad) == (torch.float32, (len(TEXT),), False)
        assert weights.mean().item() == pytest.approx(1.0, abs=1e-6)
        assert weights.max() > weights.min() + 0.1


def test_conservation_counts_only_the_tokens_of_the_loss():
    (credit,) = assign(hand_model(), own(loss_mask=[1, 0, 1, 1, 0]))
    kept = credit.token_weights[torch.tensor([0, 2, 3])]
    assert kept.tolist() == pytest.approx([2 / 2.5 * 2, 0.5 / 2.5 * 2, 1])
    assert credit.token_weights[4] / credit.token_weights[3] == pytest.approx(1.5)


def test_order_is_kept_and_a_rollout_does_not_depend_on_its_neighbours():
    texts = [TEXT, "no idea", "1 + 1 = 2\n#### 2", "", "if 8 - 3 = 5 it is\n#### 5", TEXT.replace("so", "now")]
    model, tokenizer = tiny("llama", torch.float64), char_tokenizer()
    together = sc.assign_credit(model, tokenizer, [chat(text) for text in texts])
    assert [credit.reason for credit in together][1:4:2] == ["no_answer", "empty_completion"]
    for text, credit in zip(texts, together, strict=True):
        (alone,) = sc.assign_credit(model, tokenizer, [chat(text)], sc.CreditConfig(scorer="sequential"))
        assert torch.allclose(credit.token_weights, alone.token_weights, atol=1e-6)
        assert [span.drop for span in credit.spans] == pytest.approx([span.drop for span in alone.spans], abs=1e-6)


@pytest.mark.parametrize("conserve", [True, False])
def test_the_weighted_modes_share_spans_drops_answer_weight_and_cost(conserve):
    measured, inverted, shuffled = (read(mode=mode, conserve=conserve) for mode in WEIGHTED)
    for credit in (measured, inverted, shuffled):
        assert (credit.token_weights[-1], credit.token_weights[MARKER]) == (1.5, 1)
        assert credit.cost == measured.cost != sc.Cost()
        assert [(s.start, s.end, s.drop, s.importance) for s in credit.spans] == [
            (s.start, s.end, s.drop, s.importance) for s in measured.spans
        ]

    def shape(credit):  # span weights up to the scale that conservation gives them
        return [span.weight / max(span.weight for span in credit.spans) for span in credit.spans]

    assert sorted(shape(shuffled)) == pytest.approx(sorted(shape(measured)))
    ends = max(shape(measured)) + min(shape(measured))
    reflected = [ends - weight for weight in shape(measured)]
    assert shape(inverted) == pytest.approx([weight / max(reflected) for weight in reflected])
    assert shape(inverted) != pytest.approx(shape(measured))


def test_random_is_the_same_on_every_call_and_changes_with_the_seed():
    draws = [read(mode="random", seed=seed).token_weights for seed in (0, 0, 1, 2, 3, 4)]
    assert torch.equal(draws[0], draws[1])
    assert any(not torch.equal(draws[0], draw) for draw in draws[2:])


def test_uniform_and_zero_advantage_run_no_forward():
    model = random_toy()
    calls = record_calls(model)
    uniform = read(model=model, mode="uniform")
    zero = sc.assign_credit(model, char_tokenizer(), [chat(TEXT, advantage=0.0)])[0]
    for credit in (uniform, zero):
        assert (credit.cost, credit.token_weights.tolist()) == (sc.Cost(), [1.0] * len(TEXT))
    assert calls == []


@pytest.mark.parametrize("scorer", ["sequential", "batched", "packed"])
def test_costs_of_the_credits_add_up_to_what_the_model_saw(scorer):
    model = random_toy()
    rollouts = [chat(TEXT), chat("none"), chat("1 + 1 = 2\n#### 2")]
    sc.assign_credit(model, char_tokenizer(), rollouts, sc.CreditConfig(scorer=scorer))  # the self-check, once
    calls = record_calls(model)
    credits = sc.assign_credit(model, char_tokenizer(), rollouts, sc.CreditConfig(scorer=scorer))
    total = sum((credit.cost for credit in credits), sc.Cost())
    assert (total.tokens, total.forwards) == (sum(call["input_ids"].numel() for call in calls), len(calls))
    assert credits[1].cost == sc.Cost()


def test_training_with_dropout_scores_the_same_twice_and_goes_on_training():
    model = tiny("gpt2").train()
    first, second = (read("2 + 3 = 5. 5 + 4 = 9.\n#### 9", model=model) for _ in range(2))
    assert [span.drop for span in first.spans] == [span.drop for span in second.spans]
    assert model.training
    assert torch.is_grad_enabled()


NEUTRAL = {
    "uniform": lambda: assign(hand_model(), own(), mode="uniform"),
    "zero_advantage": lambda: assign(hand_model(), own(advantage=0.0)),
    "no_loss_token": lambda: assign(hand_model(), own(loss_mask=[0] * 5)),
    "empty_completion": lambda: assign(hand_model(), (sc.Rollout([PROMPT], []), [], None)),
    "all_padding": lambda: assign(hand_model(), own([PAD] * 5)),
    "no_answer": lambda: assign(hand_model(), (own()[0], [(0, 1)], None)),
    "no_span": lambda: assign(hand_model(), (own()[0], [], (4, 5))),
    "no_program": lambda: sc.credit_from_drops([own()[0]], [[(0, 1)]], [None]),
    "over_model_limit": lambda: assign(hand_model(max_position_embeddings=5), own()),
    "non_finite": lambda: assign(ToyLM(table_of({(HELPS, ANSWER): math.nan})), own()),
    "over_budget": lambda: assign(tiny("llama"), own(), allowance=0.0, budget=0.1),
    "below_noise_floor": lambda: assign(hand_model(), own((BARELY, HURTS, 5, ANSWER))),
}


@pytest.mark.parametrize("reason", sc.REASONS)
def test_every_reason_is_given_with_neutral_weights(reason):
    (credit,) = NEUTRAL[reason]()
    assert credit.reason == reason
    assert credit.token_weights.dtype == torch.float32
    assert credit.token_weights.tolist() == [1.0] * len(credit.token_weights)
    assert all(span.weight == 1.0 for span in credit.spans)


def test_below_the_noise_floor_the_signed_drops_are_still_recorded():
    (credit,) = NEUTRAL["below_noise_floor"]()
    assert [span.importance for span in credit.spans] == [0.0, 0.0]
    assert 0 < credit.spans[0].drop < 0.05
    assert credit.spans[1].drop == pytest.approx(log_odds(1.02 / 3) - log_odds(1.02))


def test_blame_takes_drops_where_the_advantage_is_positive_and_surprisal_where_it_is_negative():
    cases = [own(advantage=advantage) for advantage in (1.0, -1.0, None, -0.5, 0.0)]
    model = random_toy()
    found = assign(model, *cases, mode="blame")
    drops = assign(model, *cases)
    surprisal = assign(model, *cases, scorer="surprisal")
    assert [credit.method for credit in found] == ["exact", "blame", "exact", "blame", None]
    for i, same in enumerate((drops, surprisal, drops, surprisal, drops)):
        assert found[i].token_weights.tolist() == pytest.approx(same[i].token_weights.tolist())
        assert [span.drop for span in found[i].spans] == pytest.approx([span.drop for span in same[i].spans])
    assert found[0].token_weights.tolist() != pytest.approx(found[1].token_weights.tolist())
    logged = merge([tally(found)])
    assert logged["blame/span"] == pytest.approx(mean(s.drop for i in (1, 3) for s in surprisal[i].spans))
    assert logged["drop/span"] == pytest.approx(mean(s.drop for i in (0, 2) for s in drops[i].spans))
    assert logged["method/blame"] == 2


def test_blame_costs_one_forward_where_a_completion_went_wrong():
    (credit,) = assign(hand_model(), own(advantage=-1.0), mode="blame")
    assert credit.cost.tokens == 6
    with pytest.raises(sc.ConfigError, match="takes drops and surprisal"):
        sc.CreditConfig(mode="blame", scorer="entropy")
