"""A budget: what it buys for how many tokens, who is sampled, and what it says of itself."""

import random
from dataclasses import replace

import pytest
from toy_models import VOCAB, tiny

import spancredit as sc
from spancredit.counterfactual import budget
from spancredit.counterfactual.budget import (
    LOTS,
    STEP_FORWARDS,
    Prices,
    default_allowance,
    hulls,
    rank_correlation,
    within_budget,
)
from spancredit.counterfactual.forward import eval_mode
from spancredit.counterfactual.interventions import clean_row
from spancredit.counterfactual.jobs import Job, measure_jobs
from spancredit.counterfactual.measure import Target, measure
from spancredit.counterfactual.packed import slack
from spancredit.training.metrics import merge, tally
from spancredit.types import Span

SPANS, SIZE = 24, 3


@pytest.fixture(autouse=True)
def near_horizons(monkeypatch):
    """So that short completions do to see a horizon chosen."""
    monkeypatch.setattr(budget, "HORIZONS", (12, 8))


def rollouts(count: int = 6) -> list[sc.Rollout]:
    draw = random.Random(2)
    prompts = [[draw.randrange(1, VOCAB) for _ in range(10)] for _ in range(2)]
    return [
        sc.Rollout(prompts[i % 2], [draw.randrange(1, VOCAB) for _ in range(SPANS * SIZE + 2)]) for i in range(count)
    ]


def target(rollout: sc.Rollout) -> Target:
    offset = len(rollout.prompt_ids)
    answer = Span(SPANS * SIZE, SPANS * SIZE + 2, "answer")
    ranges = tuple((offset + SIZE * k, offset + SIZE * (k + 1)) for k in range(SPANS))
    return Target(clean_row(rollout, answer), ranges)


def bought(allowance: float, intervention: str = "pad", count: int = 6, lots=None, model=None):
    config = sc.CreditConfig(intervention=intervention, budget=0.1)
    targets = [target(rollout) for rollout in rollouts(count)]
    lots = lots or [LOTS // count * i for i in range(count)]
    with eval_mode(model := model or tiny("llama", positions=128)):
        return within_budget(model, targets, config, [0], allowance, lots)


def price(horizon=None, intervention="pad") -> int:
    config = sc.CreditConfig(intervention=intervention)
    return Prices([target(r) for r in rollouts()], config, packs=True).of([target(r) for r in rollouts()], horizon)


@pytest.mark.parametrize(
    ("intervention", "horizon"),
    [("pad", None), ("pad", 8), ("pad", 0), ("attention", None), ("attention", 8), ("attention", 0), ("delete", None)],
)
def test_the_price_is_what_packed_forwards_but_for_padding_and_the_last_token(intervention, horizon):
    model, targets = tiny("llama", positions=128), [target(rollout) for rollout in rollouts()]
    config = sc.CreditConfig(intervention=intervention)
    with eval_mode(model):
        found = measure(model, targets, config, [0], horizon)
    tokens = sum(one.cost.tokens for one in found)
    forwards = sum(one.cost.forwards for one in found)
    rows = len(targets) * (SPANS + 1)
    assert abs(tokens - price(horizon, intervention)) <= forwards * slack(model) + rows


def test_what_surprisals_take_is_part_of_the_budget():
    config = sc.CreditConfig(mode="blame", budget=0.1)
    jobs = [
        Job(target(rollout), len(rollout.prompt_ids) + len(rollout.completion_ids), i % 2 == 1, LOTS // 6 * i)
        for i, rollout in enumerate(rollouts())
    ]
    drops = [job.target for job in jobs if not job.blamed]
    alone = Prices(drops, config, packs=True).of(drops, None)
    with eval_mode(model := tiny("llama", positions=128)):
        methods = [one.method for one in measure_jobs(model, jobs, config, [0], alone)]
        taken = sum(job.tokens for job in jobs if job.blamed)
        fits = [one.method for one in measure_jobs(model, jobs, config, [0], alone + taken)]
    assert methods[1::2] == fits[1::2] == ["blame"] * 3
    assert fits[::2] == ["exact"] * 3
    assert "exact" not in methods


def test_it_is_exact_where_that_fits():
    results = bought(price())
    assert {one.method for one in results} == {"exact"}
    exact = bought(10**9)
    assert [one.measured.drops_K for one in results] == [one.measured.drops_K for one in exact]
    assert all(one.agreement is None for one in results)


def test_long_stretches_are_masked_first_and_those_that_matter_are_split():
    allowance = 0.99 * price()
    results = bought(allowance)
    assert {one.method for one in results} == {"coarse"}
    assert sum(one.measured.cost.tokens for one in results) < allowance * 1.3
    exact = bought(10**9)
    same = [
        (a, b)
        for one, whole in zip(results, exact, strict=True)
        for a, b in zip(one.measured.drops_K, whole.measured.drops_K, strict=True)
    ]
    split = [abs(a - b) < 1e-4 for a, b in same]
    assert any(split)
    assert not all(split)


def test_the_spans_of_a_stretch_that_was_not_split_share_its_drop():
    results = bought(0.99 * price(), model=None)
    for one in results:
        for start in range(0, SPANS, 5):
            drops = one.measured.drops_K[start : start + 5]
            if len(set(drops)) == 1:
                return
    pytest.fail("every stretch was split")


def test_then_a_horizon_and_then_a_sample_of_rollouts():
    near = bought(price(8))
    assert {one.method for one in near} == {"horizon_8"}
    assert all(one.measured is not None for one in near)
    some = bought(price(8) / 2)
    assert {one.method for one in some} == {"horizon_8"}
    assert 0 < sum(one.measured is not None for one in some) < len(some)
    unchecked = [one.measured.cost.tokens for one in some if one.measured and one.agreement is None]
    assert sum(unchecked) <= price(8) / 2 * 1.3


def test_a_horizon_that_saves_little_is_not_worth_its_error():
    config = sc.CreditConfig(budget=0.1)
    few = [replace(target(rollout), spans=target(rollout).spans[-4:]) for rollout in rollouts()]
    with eval_mode(model := tiny("llama", positions=128)):
        tokens = Prices(few, config, packs=True).of(few, None)
        results = within_budget(model, few, config, [0], 0.6 * tokens, [LOTS // 6 * i for i in range(6)])
    assert {one.method for one in results} == {"exact"}
    assert 0 < sum(one.measured is not None for one in results) < 6


def test_without_a_horizon_the_sample_is_exact():
    some = bought(price(intervention="delete") / 4, "delete")
    assert {one.method for one in some} == {"exact"}
    assert 0 < sum(one.measured is not None for one in some) < len(some)


def test_a_rollout_that_is_more_than_the_allowance_is_scored_now_and_then():
    alone = Prices([target(rollouts()[0])], sc.CreditConfig(), packs=True).alone(target(rollouts()[0]), 8)
    results = [bought(alone / 4, count=1, lots=[lot])[0].measured for lot in range(0, LOTS, LOTS // 16)]
    assert 2 <= sum(one is not None for one in results) <= 6


def test_one_rollout_is_checked_now_and_then_against_exact_drops():
    lots = [list(range(i, LOTS, LOTS // 6))[:6] for i in range(0, 4000, 100)]
    runs = [bought(price(8), lots=some) for some in lots[:6]]
    checked = [one for run in runs for one in run if one.agreement is not None]
    assert 0 < len(checked) <= len(runs)
    assert all(-1 <= one.agreement <= 1 for one in checked)


def test_assign_credit_gives_what_the_budget_leaves_out_weight_1_and_says_so():
    config = sc.CreditConfig(budget=0.02)
    ranges = [[(SIZE * k, SIZE * (k + 1)) for k in range(SPANS)]] * 6
    answers = [(SPANS * SIZE, SPANS * SIZE + 2)] * 6
    model = tiny("llama", positions=128)
    credits = sc.assign_credit(model, None, rollouts(), config, spans=ranges, answers=answers)
    assert {credit.reason for credit in credits} <= {None, "over_budget", "below_noise_floor"}
    left = [credit for credit in credits if credit.reason == "over_budget"]
    assert left
    assert all((credit.token_weights == 1).all() for credit in left)
    again = sc.assign_credit(model, None, rollouts(), config, spans=ranges, answers=answers)
    assert [credit.reason for credit in again] == [credit.reason for credit in credits]
    metrics = merge([tally(credits)])
    assert metrics["unscored/over_budget"] == len(left) / 6
    generous = sc.assign_credit(model, None, rollouts(), config, spans=ranges, answers=answers, allowance=1e9)
    assert {credit.method for credit in generous} == {"exact"}
    assert merge([tally(generous)])["method/exact"] == 6


def test_hulls_are_about_as_many_as_the_spans_of_each():
    assert hulls([(0, 2), (2, 5), (7, 9), (9, 10)]) == [(0, 5), (7, 10)]
    assert hulls([(3, 4)]) == [(3, 4)]
    assert len(hulls([(i, i + 1) for i in range(200)])) in (14, 15)


def test_without_timings_a_step_counts_as_four_forwards():
    assert default_allowance(0.2, 1000) == pytest.approx(0.25 * STEP_FORWARDS * 1000)


def test_ranks_of_constant_or_too_few_drops_say_nothing():
    assert rank_correlation([1, 2], [1, 2]) is None
    assert rank_correlation([1, 1, 1], [1, 2, 3]) is None
    assert rank_correlation([1, 2, 3], [2, 4, 5]) == pytest.approx(1.0)
