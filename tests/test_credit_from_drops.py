"""Drops that were measured elsewhere become weights as measured ones do, and blame goes where it belongs."""

import numpy as np
import pytest
import torch

import spancredit as sc

SPANS = [(0, 2), sc.Span(2, 5, "code:Return", "return x"), (5, 6)]
IDS = list(range(1, 9))


def one(drops, advantage=1.0, spans=SPANS, **settings):
    config = sc.CreditConfig(**{"boost": 2.0, "min_weight": 0.5} | settings)
    (credit,) = sc.credit_from_drops([sc.Rollout([1], IDS, advantage)], [spans], [drops], config)
    return credit


def test_weights_follow_the_drops_and_have_mean_one():
    credit = one([0.25, 1.0, 0.0])
    assert credit.method == "given"
    assert credit.reason is None
    assert [span.drop for span in credit.spans] == [0.25, 1.0, 0.0]
    assert [span.importance for span in credit.spans] == [0.25, 1.0, 0.0]
    assert credit.spans[1].kind == "code:Return"
    assert credit.spans[1].text == "return x"
    raw = torch.tensor([0.875, 0.875, 2.0, 2.0, 2.0, 0.5])
    torch.testing.assert_close(credit.token_weights, torch.cat([raw * 6 / raw.sum(), torch.ones(2)]))
    assert credit.token_weights.mean().item() == pytest.approx(1, abs=1e-6)
    assert credit.answer is None
    assert credit.answer_logp is None


def test_of_a_negative_advantage_the_spans_that_keep_the_outcome_down_take_the_most():
    credit = one([0.5, -0.25, -0.5], advantage=-1.0)
    assert [span.importance for span in credit.spans] == [0.0, 0.5, 1.0]
    assert [span.drop for span in credit.spans] == [0.5, -0.25, -0.5]


def test_controls_are_matched():
    plain, inverted, shuffled = (one([0.2, 1.0, 0.6], mode=mode) for mode in ("counterfactual", "inverted", "random"))
    assert [span.importance for span in inverted.spans] == [span.importance for span in plain.spans]
    order = torch.tensor([span.weight for span in plain.spans]).argsort()
    assert torch.equal(torch.tensor([span.weight for span in inverted.spans]).argsort(), order.flip(0))
    for credit in (plain, inverted, shuffled):
        assert credit.token_weights.mean().item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (dict(drops=None), "no_program"),
        (dict(drops=[], spans=[]), "no_span"),
        (dict(drops=[1.0, 0.0, 0.0], advantage=0.0), "zero_advantage"),
        (dict(drops=[1.0, 0.0, 0.0], mode="uniform"), "uniform"),
        (dict(drops=[0.0, 0.0, -1.0]), "below_noise_floor"),
        (dict(drops=[float("nan"), 0.0, 0.0]), "non_finite"),
    ],
)
def test_what_says_nothing_leaves_the_rollout_uniform_by_a_named_reason(given, reason):
    credit = one(**given)
    assert credit.reason == reason
    assert reason in sc.REASONS
    assert torch.equal(credit.token_weights, torch.ones(8))


def test_a_completion_of_nothing_has_the_reason_that_it_has_elsewhere():
    (credit,) = sc.credit_from_drops([sc.Rollout([1], [], 1.0)], [[]], [None])
    assert credit.reason == "empty_completion"


def test_what_does_not_fit_is_refused():
    with pytest.raises(sc.RolloutError, match="rollout 0 has 2 drops; expected one for each of its 3 spans"):
        one([1.0, 2.0])
    with pytest.raises(sc.RolloutError, match=r"range \(5, 9\); expected 0 <= start < end <= 8, inside the completion"):
        one([1.0], spans=[(5, 9)])
    with pytest.raises(sc.ConfigError, match="full_scale is -1; expected None or a number above 0"):
        sc.credit_from_drops([], [], [], full_scale=-1)
    with pytest.raises(sc.ConfigError, match="mediated"):
        one([1.0, 0.0, 0.0], mode="mediated")


@pytest.mark.parametrize(
    "made",
    [
        np.array,
        torch.tensor,
        lambda drops: np.array(drops, np.float32),
        lambda drops: torch.tensor(drops, dtype=torch.bfloat16),
        lambda drops: list(map(np.float32, drops)),
        lambda drops: list(map(torch.tensor, drops)),
    ],
)
def test_drops_may_be_of_numpy_or_torch(made):
    drops = [0.25, 1.0, 0.0]
    given, plain = one(made(drops)), one(drops)
    assert given.spans == plain.spans
    assert {type(span.drop) for span in given.spans} == {float}
    assert torch.equal(given.token_weights, plain.token_weights)


def test_the_full_scale_may_be_of_numpy():
    given, plain = (
        sc.credit_from_drops([sc.Rollout([1], IDS, 1.0)], [SPANS], [[0.25, 0.5, 0.0]], full_scale=scale)[0]
        for scale in (np.float32(2), 2.0)
    )
    assert given.spans == plain.spans
