"""The fidelity benchmark: its statistics on hand-made data, its sampler against exact probabilities, and one run."""

import importlib
import itertools
import json
import math
from pathlib import Path

import pytest
import torch

from spancredit.models import load_policy

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def _scripts_can_be_imported(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


@pytest.fixture
def stats():
    return importlib.import_module("fidelity_stats")


def test_rank_correlations_see_order_alone(stats):
    assert stats.spearman([1, 2, 30], [5, 6, 7]) == pytest.approx(1)
    assert stats.spearman([3, 2, 1], [5, 6, 7]) == pytest.approx(-1)
    assert stats.kendall([1, 3, 2], [1, 2, 3]) == pytest.approx(1 / 3)
    assert stats.pearson([1, 2, 3], [2, 4, 6]) == pytest.approx(1)


def test_a_constant_signal_says_nothing_and_a_constant_reference_asks_nothing(stats):
    for correlation in (stats.spearman, stats.pearson, stats.kendall):
        assert correlation([1, 1, 1], [1, 2, 3]) == 0
        assert math.isnan(correlation([1, 2, 3], [1, 1, 1]))


@pytest.mark.parametrize(
    ("signal", "reference", "k", "share"),
    [
        ([1, 5, 2], [0, 9, 1], 1, 1.0),
        ([5, 1, 2], [0, 9, 1], 1, 0.0),
        ([5, 1, 2], [0, 9, 1], 2, 0.5),
        ([1, 1, 1], [0, 9, 1], 1, 1 / 3),  # a tie is a random choice
        ([1, 5, 2], [0, 9, 9], 1, 1.0),  # either of the tied will do
    ],
)
def test_the_overlap_of_the_largest(stats, signal, reference, k, share):
    assert stats.top_overlap(signal, reference, k) == pytest.approx(share)


def test_the_overlap_of_all_or_with_a_constant_is_no_number(stats):
    assert math.isnan(stats.top_overlap([1, 2], [1, 2], 2))
    assert math.isnan(stats.top_overlap([1, 2, 3], [4, 4, 4], 1))


def test_intervals_hold_the_mean_and_leave_nan_out(stats):
    found = stats.mean_interval([0.0, 1.0, float("nan")] * 100)
    assert found["count"] == 200
    assert found["low"] < found["value"] == 0.5 < found["high"]
    assert found["high"] - found["low"] == pytest.approx(4 * 0.5 / math.sqrt(200), rel=0.15)
    assert stats.mean_interval([])["count"] == 0


def test_pooled_statistics_run_over_the_spans_of_all(stats):
    signal, reference = [[1.0, 2.0], [3.0], [9.0, 1.0]], [[2.0, 1.0], [4.0], [8.0, 0.5]]
    flat = [list(itertools.chain(*rows)) for rows in (signal, reference)]
    assert stats.pooled_pearson(signal, reference)["value"] == pytest.approx(stats.pearson(*flat), abs=1e-4)
    assert stats.pooled_mean(signal)["value"] == pytest.approx(16 / 5)


def test_deletion_is_0_for_random_order_and_1_for_the_exact_one(stats):
    assert stats.curve_area([0.0, -1.0, -3.0]) == 2
    exact, random = [4.0, 6.0], [1.0, 3.0]
    for area, share in ((exact, 1), (random, 0), ([2.5, 4.5], 0.5)):
        assert stats.normalised_area(area, exact, random)["value"] == pytest.approx(share)


def test_noise_bounds_what_a_perfect_signal_can_reach(stats):
    assert stats.ceiling(1.0) == 1
    assert stats.ceiling(0.5) == pytest.approx(math.sqrt(2 / 3))
    assert stats.ceiling(-0.1) == 0


@torch.no_grad()
def test_continuations_have_the_policy_s_own_distribution():
    """Three tokens of 4,000 samples: rows that split must carry on with the right keys and values."""
    sampler = importlib.import_module("fidelity_continue")
    model, tokenizer = load_policy("bundled")
    prompts = [
        "Question: Ana has 12 eggs. Ben gives Ana another 9.",
        "Question: Ben has 7 pens. Then Ben finds 5 more.",
    ]
    prefixes = [tokenizer(f"{prompt} What is the final number?\nSolution:")["input_ids"] for prompt in prompts]
    size = 4000
    many = sampler.continue_many(model, prefixes, size, max(map(len, prefixes)) + 3, torch.Generator().manual_seed(0))
    for prefix, texts in zip(prefixes, many, strict=True):
        likely = sorted(set(map(tuple, texts)), key=lambda text: -texts.count(list(text)))[:10]
        for text in likely:
            logps_LV = model(input_ids=torch.tensor([[*prefix, *text]])).logits[0].log_softmax(-1)
            p = math.exp(sum(float(logps_LV[len(prefix) - 1 + i, token]) for i, token in enumerate(text)))
            assert texts.count(list(text)) / size == pytest.approx(p, abs=5 * math.sqrt(p * (1 - p) / size))


def test_children_take_the_rows_of_their_parents():
    sampler = importlib.import_module("fidelity_continue")
    slots, moved = sampler._places(torch.tensor([0, 0, 2, 5]))
    assert sorted(slots.tolist()) == [0, 1, 2, 3]
    assert slots[[0, 2]].tolist() == [0, 2]
    assert moved.tolist() == [False, True, False, True]


@pytest.mark.slow
def test_a_small_run_fills_every_table(tmp_path):
    script = importlib.import_module("fidelity")
    out, picture = tmp_path / "fidelity.json", tmp_path / "fidelity.svg"
    arguments = ["--problems", "4", "--continuations", "4", "--out", str(out), "--picture", str(picture)]
    found = script.main(arguments)
    assert json.loads(out.read_text())["run"]["completions"] == found["run"]["completions"] > 0
    assert picture.read_text().startswith("<?xml")
    for name in ("pad", "attention", "delete", "filler"):
        row = found["exact"][name][name]
        assert {row[column]["value"] for column in ("spearman", "kendall", "top 1", "pearson")} == {1.0}
        assert row["tokens"] == 1
        assert found["exact"][name]["proxy attention"]["spearman"]["value"] < 1
    assert found["exact"]["pad"]["pad horizon 0"]["tokens"] < 1
    assert found["exact"]["pad"]["pad"]["deletion"]["value"] == 1
    assert set(found["outcome"]) == {"all", "right", "wrong", "wrong, same answer"}
