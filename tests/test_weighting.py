"""From drops to token weights: the noise floor, the matched controls, and conservation."""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from spancredit.draws import number_of
from spancredit.types import Span
from spancredit.weighting import arrange, importances, mediated, token_weights

drops = st.lists(st.floats(-50, 50), min_size=1, max_size=20)
unit = st.lists(st.floats(0, 1), min_size=1, max_size=20)


@pytest.mark.parametrize(
    ("drops_K", "expected"),
    [
        ([0.001], [0.0]),  # below the floor
        ([0.05], [0.0]),  # at the floor
        ([0.06], [0.01]),  # a tiny drop stays tiny, even as the largest
        ([0.55, 0.3], [0.5, 0.25]),
        ([1.05], [1.0]),
        ([10.05, 5.05, 0.001], [1.0, 0.5, 0.0]),  # large ones are scaled down together
        ([-3.0, 1.05], [0.0, 1.0]),  # masking that helped is no importance
        ([], []),
    ],
)
def test_importance_is_the_drop_above_the_floor_on_a_fixed_scale(drops_K: list[float], expected: list[float]):
    assert importances(drops_K, noise_floor=0.05, full_scale=1.0) == pytest.approx(expected)


@given(drops_K=drops, floor=st.floats(0, 2), scale=st.floats(0.1, 10))
@settings(max_examples=100, deadline=None)
def test_importances_are_in_range_in_order_and_never_scaled_up(drops_K: list[float], floor: float, scale: float):
    found = importances(drops_K, floor, scale)
    assert all(0 <= importance <= 1 for importance in found)
    assert all(importance <= max(drop - floor, 0) / scale for importance, drop in zip(found, drops_K, strict=True))
    assert [found[i] for i in sorted(range(len(found)), key=drops_K.__getitem__)] == sorted(found)
    assert max(found) == 1 or max(drops_K) - floor < scale


def influence(count: int, **costs: float) -> torch.Tensor:
    """A `(K, K)` matrix of nats from entries such as `j0k2=5.0`."""
    matrix_KK = torch.zeros(count, count)
    for name, cost in costs.items():
        j, k = name.removeprefix("j").split("k")
        matrix_KK[int(j), int(k)] = cost
    return matrix_KK


def test_mediated_credit_begins_with_the_direct_rule():
    assert mediated([2.05, 0.01, -3.0], torch.zeros(3, 3), noise_floor=0.05) == pytest.approx([2.0, 0.0, 0.0])


def test_a_span_earns_what_it_made_likely_and_that_passes_on():
    """The answer leans on span 3, which leans on span 1, which leans on span 0; span 2 is filler."""
    influence_KK = influence(4, j1k3=30.05, j0k1=20.05)
    credit_K = mediated([0.0, 0.0, 0.0, 4.05], influence_KK, noise_floor=0.05)
    assert credit_K == pytest.approx([4.0, 4.0, 0.0, 4.0])


def test_what_any_hole_costs_is_no_influence():
    """Masking any of the spans before the last costs it 7 nats, one costs more."""
    influence_KK = influence(4, j0k3=7.0, j1k3=12.0, j2k3=7.0)
    assert mediated([0.0, 0.0, 0.0, 2.05], influence_KK, noise_floor=0.05) == pytest.approx([0.0, 2.0, 0.0, 2.0])


def test_a_weak_influence_earns_a_small_share_of_what_follows():
    """Shares are over one nat at least: a tenth of a nat is a tenth of the credit, not all of it."""
    assert mediated([0.0, 1.05], influence(2, j0k1=0.15), noise_floor=0.05) == pytest.approx([0.1, 1.0])


@given(drops_K=st.lists(st.floats(-5, 5), min_size=1, max_size=8), data=st.data())
@settings(max_examples=100, deadline=None)
def test_mediated_credit_is_at_least_direct_and_a_span_gives_away_at_most_what_it_has(drops_K, data):
    count = len(drops_K)
    costs = data.draw(st.lists(st.floats(-20, 40), min_size=count**2, max_size=count**2))
    influence_KK = torch.tensor(costs).reshape(count, count).triu(1)
    credit_K = mediated(drops_K, influence_KK, noise_floor=0.05)
    direct_K = [max(drop - 0.05, 0.0) for drop in drops_K]
    assert all(credit >= direct - 1e-9 for credit, direct in zip(credit_K, direct_K, strict=True))
    assert credit_K[-1] == direct_K[-1]
    assert sum(credit_K) <= sum(direct_K) * 2 ** (count - 1) + 1e-6


@given(scores_K=unit)
@settings(max_examples=100, deadline=None)
def test_inverted_reflects_and_keeps_range_and_number(scores_K: list[float]):
    inverted_K = arrange(scores_K, "inverted", seed=0)
    assert len(inverted_K) == len(scores_K)
    assert min(inverted_K) == pytest.approx(min(scores_K))
    assert max(inverted_K) == pytest.approx(max(scores_K))
    sums = [a + b for a, b in zip(scores_K, inverted_K, strict=True)]
    assert sums == pytest.approx([max(scores_K) + min(scores_K)] * len(sums))


def test_inverted_turns_the_most_important_into_the_least():
    assert arrange([0.0, 0.25, 1.0], "inverted", seed=0) == [1.0, 0.75, 0.0]


@given(scores_K=unit, seed=st.integers(0, 2**32 - 1))
@settings(max_examples=100, deadline=None)
def test_random_is_a_permutation_that_the_seed_decides(scores_K: list[float], seed: int):
    permuted_K = arrange(scores_K, "random", seed)
    assert sorted(permuted_K) == sorted(scores_K)
    assert permuted_K == arrange(scores_K, "random", seed)


def test_random_puts_every_score_everywhere_over_seeds():
    seen = {tuple(arrange([0.1, 0.2, 0.3], "random", seed)) for seed in range(100)}
    assert len(seen) == 6


@pytest.mark.parametrize("mode", ["counterfactual", "uniform"])
def test_other_modes_leave_the_scores_where_they_are(mode: str):
    assert arrange([0.3, 0.1, 0.2], mode, seed=0) == [0.3, 0.1, 0.2]


def test_number_of_depends_on_the_completion_and_the_seed_alone():
    assert number_of(0, [1, 2, 3]) == number_of(0, tuple(torch.tensor([1, 2, 3])))
    assert len({number_of(0, [1, 2, 3]), number_of(1, [1, 2, 3]), number_of(0, [1, 23])}) == 3


@st.composite
def layouts(draw: st.DrawFn) -> tuple[int, list[Span], list[float], Span, float, list[int] | None]:
    """A completion: spans with weights, a marker between them and the answer, the answer, and a tail."""
    sizes = draw(st.lists(st.integers(1, 9), min_size=1, max_size=12))
    starts = [sum(sizes[:i]) for i in range(len(sizes) + 1)]
    spans = [Span(a, a + size, "text") for a, size in zip(starts[:-1], sizes, strict=True)]
    weights = [draw(st.floats(0.01, 10)) for _ in sizes]
    answer = Span(starts[-1] + 1, starts[-1] + 1 + draw(st.integers(1, 4)), "answer")
    size = answer.end + draw(st.integers(0, 3))
    mask = draw(st.none() | st.lists(st.integers(0, 1), min_size=size, max_size=size))
    assume(mask is None or any(mask))
    return size, spans, weights, answer, draw(st.floats(0.01, 5)), mask


@given(layout=layouts())
@settings(max_examples=100, deadline=None)
def test_conserved_weights_average_one_over_the_loss(layout):
    size, spans, weights, answer, answer_weight, mask = layout
    weights_T = token_weights(size, spans, weights, answer, answer_weight, mask, conserve=True)
    assert weights_T.dtype == torch.float32
    assert weights_T.shape == (size,)
    counted_T = torch.ones(size) if mask is None else torch.tensor(mask)
    assert weights_T[counted_T.bool()].double().mean().item() == pytest.approx(1, abs=1e-6)


@given(layout=layouts())
@settings(max_examples=100, deadline=None)
def test_conservation_scales_the_spans_and_leaves_the_rest(layout):
    size, spans, weights, answer, answer_weight, mask = layout
    raw_T = token_weights(size, spans, weights, answer, answer_weight, mask, conserve=False)
    conserved_T = token_weights(size, spans, weights, answer, answer_weight, mask, conserve=True)
    assert all(raw_T[i] == torch.tensor(w) for s, w in zip(spans, weights, strict=True) for i in range(s.start, s.end))
    in_span_T = torch.zeros(size, dtype=torch.bool)
    for span in spans:
        in_span_T[span.start : span.end] = True
    counted_T = torch.ones(size, dtype=torch.bool) if mask is None else torch.tensor(mask).bool()
    ratios_T = conserved_T / raw_T
    assert torch.allclose(ratios_T[in_span_T], ratios_T[spans[0].start], rtol=1e-5)
    fits = (counted_T & in_span_T).any() and raw_T[counted_T & ~in_span_T].double().sum() < counted_T.sum() - 1e-4
    if fits:
        assert torch.equal(conserved_T[~in_span_T], raw_T[~in_span_T])


def test_an_answer_that_outweighs_the_reasoning_is_scaled_with_it():
    weights_T = token_weights(6, [Span(0, 1, "text")], [2.0], Span(1, 6, "answer"), 1.5, None, conserve=True)
    assert weights_T.tolist() == pytest.approx([12 / 9.5, *[9 / 9.5] * 5])


@pytest.mark.parametrize("mode", ["counterfactual", "inverted", "random"])
def test_the_answer_and_the_rest_weigh_the_same_in_every_mode(mode: str):
    spans = [Span(0, 2, "text"), Span(2, 9, "text"), Span(9, 10, "text")]
    scores_K = arrange([0.0, 0.2, 1.0], mode, seed=1)
    weights_T = token_weights(14, spans, [0.5 + 1.5 * s for s in scores_K], Span(12, 13, "answer"), 1.5, None, True)
    assert weights_T[10:].tolist() == [1, 1, 1.5, 1]
    assert weights_T.mean().item() == pytest.approx(1)


def test_equal_weights_are_exactly_one():
    weights_T = token_weights(7, [Span(0, 3, "text")], [1.0], Span(4, 5, "answer"), 1.0, None, conserve=True)
    assert torch.equal(weights_T, torch.ones(7))


@pytest.mark.parametrize("mask", [[0] * 4, [1, 1, 0, 0]])
def test_weights_that_average_zero_or_count_nowhere_are_left_as_they_are(mask: list[int]):
    weights_T = token_weights(4, [Span(0, 2, "text")], [0.0], Span(3, 4, "answer"), 1.5, mask, conserve=True)
    assert weights_T.tolist() == [0.0, 0.0, 1.0, 1.5]
