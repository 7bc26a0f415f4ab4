"""The cost model of benchmarks/scaling.py counts what scoring does: tokens, forwards, logits, prices, bytes."""

import pickle
import random
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from toy_models import VOCAB, tiny

import spancredit as sc
from spancredit.bench.floor import credit_need
from spancredit.bench.work import Sizes, random_work
from spancredit.counterfactual.jobs import Job, price
from spancredit.counterfactual.packed import part_sizes
from spancredit.plan import plan_rollouts
from spancredit.validation import ModelFacts

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import scaling
import scaling_cost
import scaling_model as model

MOST = 200  # so few that no two parts share a forward


@pytest.fixture(scope="module")
def llama():
    return tiny("llama", positions=512)


def both(spans=12, horizon=None, completion=200, group=3):
    """The model's work, and rollouts of the same shape."""
    made = random_work(Sizes(40, completion, spans, group, group), VOCAB, 0, seed=1)
    return model.Work(40, completion, spans, group, VOCAB, horizon), made


@pytest.mark.parametrize("horizon", [None, 0, 8, 500])
@pytest.mark.parametrize("spans", [1, 5, 12])
def test_tokens_forwards_and_logits_are_those_of_the_packed_scorer(llama, spans, horizon):
    work, made = both(spans, horizon)
    config = sc.CreditConfig(max_tokens_per_forward=MOST, horizon=horizon)
    credits = sc.assign_credit(llama, None, made.rollouts, config, **made.ranges)
    cost = sum((credit.cost for credit in credits), sc.Cost())
    sizes = part_sizes(llama, work.size - 1, MOST)
    assert work.tokens == pytest.approx(cost.tokens, rel=0.03)  # beside padding, and what random tokens share
    assert model.parts_of([work], *sizes) == pytest.approx(cost.forwards, rel=0.1)
    assert work.asked == credit_need(made.items, "pad", [0], horizon).logits


@pytest.mark.parametrize("horizon", [None, 8])
def test_what_is_priced_is_what_the_bench_prices(horizon):
    work, made = both(horizon=horizon)
    need = credit_need(made.items, "pad", [0], horizon)
    assert work.need().tokens == pytest.approx(need.tokens, rel=0.03)
    keys = (sum(piece.keys() for piece in some.pieces) for some in (work.need(), need))
    assert next(keys) == pytest.approx(next(keys), rel=0.03)


def test_prices_and_parcels_are_those_of_real_jobs():
    work, made = both()
    config, facts = sc.CreditConfig(), ModelFacts(VOCAB, None, 0)
    answers = [item.answer for item in made.items]
    _, plans = plan_rollouts(made.rollouts, None, facts, config, [item.spans for item in made.items], answers)
    jobs = [Job.of(rollout, plan.target, config) for rollout, plan in zip(made.rollouts, plans, strict=True)]
    assert [price(job, config, packs=True) for job in jobs] == [work.price] * work.group
    there, _ = model.parcel_bytes(work, work.group)
    assert there == pytest.approx(len(pickle.dumps([jobs])), rel=0.02)


@pytest.mark.parametrize("vocab", [100, 1000, 150_000])
def test_ids_take_as_many_bytes_as_pickle_gives_them(vocab):
    draw = random.Random(0)
    ids = [draw.randrange(vocab) for _ in range(20_000)]
    assert model.id_bytes(vocab) == pytest.approx(len(pickle.dumps(ids)) / len(ids), rel=0.02)


def test_a_budget_scores_what_its_allowance_pays_and_exact_costs_more_than_a_horizon():
    batch = scaling_cost.Batch(1000)
    found = {how: scaling_cost.scored(batch, 150_000, how) for how in scaling.METHODS}
    spent = {how: one.share * one.work.tokens for how, one in found.items()}
    assert spent["budget"] == pytest.approx(0.1 / 0.9 * 4 * batch.group * found["exact"].work.size)
    assert spent["exact"] > 2 * spent["horizon"] > 2 * spent["budget"]
    assert found["exact"].share == found["horizon"].share == 1 > found["budget"].share


def test_gpus_share_the_work_and_a_sharded_forward_gathers_all_layers_but_its_own():
    at, batch, who = scaling_cost.GPU(), scaling_cost.Batch(1000), scaling_cost.policy("7B")
    eight, many = (scaling_cost.step(batch, who, gpus, "exact", True, at, 2**14) for gpus in (8, 512))
    assert eight.tokens == 64 * many.tokens
    assert eight.compute == pytest.approx(64 * many.compute)
    assert many.gathered == pytest.approx(2 * who.gathered * 511 / 512)
    assert who.parameters == pytest.approx(7.6e9, rel=0.01)
    whole = scaling_cost.step(batch, who, 512, "exact", False, at, 2**14)
    assert whole.gathered == whole.company == 0
    assert whole.state == 16 * who.parameters


@pytest.mark.slow
def test_the_tables_are_printed(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["scaling.py"])
    monkeypatch.setattr(scaling, "GPUS", (8, 64))
    scaling.main()
    printed = capsys.readouterr().out
    assert "not measurements" in printed
    rows = [line for line in printed.splitlines() if line.startswith("| 70B | 16000")]
    assert len(rows) == 4
    assert all(" / " in row or ";" in row for row in rows)


def test_a_smaller_ceiling_makes_more_forwards():
    work = replace(both()[0], completion=400)
    counts = [model.parts_of([work], most, most) for most in (256, 1024, 4096)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[2] > 1
