"""The packed scorer equals the sequential one on every family of models, and other families are not packed."""

import math
import random
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from typing import Any, get_args

import pytest
import torch
from families import FALLBACK, FAMILIES, LONG_ROPE, WINDOW
from toy_models import INDEX, char_tokenizer, sabotaged, uneven_rows

import spancredit as sc
from spancredit.counterfactual.forward import eval_mode
from spancredit.counterfactual.scorers import TOLERANCE, packed, sequential
from spancredit.names import Intervention
from spancredit.training.batch import rollouts_of

INTERVENTIONS = get_args(Intervention)
EXACT = {torch.float32: 1e-4, torch.float64: 1e-9}
PAD, DEFAULT = 0, sc.CreditConfig().max_tokens_per_forward
STATEFUL = [family for family in FALLBACK if not family.startswith("gpt_neo")]
ROUNDS_IN_FLOAT64 = ("gemma2",)  # the eager attention of transformers takes its softmax in float32


@dataclass(frozen=True)
class Case:
    """A rollout, its spans and its answer."""

    rollout: sc.Rollout
    spans: tuple[tuple[int, int], ...]
    answer: tuple[int, int]


def draw_ids(draw: random.Random, size: int) -> tuple[int, ...]:
    return tuple(draw.choices(range(3, len(INDEX)), k=size))


def draw_completion(draw: random.Random, earlier: list[Case]) -> tuple[int, ...]:
    """Random ids; or an earlier completion of the group; or the beginning of one, and then random ids."""
    new = draw_ids(draw, draw.randint(3, 22))
    kind = draw.random()
    if not earlier or kind < 0.5:
        return new
    old = tuple(draw.choice(earlier).rollout.completion_ids)
    return old if kind < 0.65 else old[: draw.randint(1, len(old))] + new[: draw.randint(1, 8)]


def draw_spans(draw: random.Random, limit: int) -> tuple[tuple[int, int], ...]:
    """One to three ranges below `limit`, adjacent or not; one in twenty may be as long as a window or longer."""
    longest = limit if draw.random() < 0.05 else WINDOW - 1
    cuts = sorted(draw.sample(range(limit + 1), min(draw.randint(2, 4), limit + 1)))
    pieces = [(start, min(end, start + longest)) for start, end in pairwise(cuts)]
    return tuple(sorted(draw.sample(pieces, draw.randint(max(1, len(pieces) - 1), len(pieces)))))


def draw_group(draw: random.Random) -> list[Case]:
    """One to six completions of one prompt."""
    prompt, group = draw_ids(draw, draw.randint(1, 10)), []
    for _ in range(draw.randint(1, 6)):
        completion = draw_completion(draw, group)
        size = draw.randint(1, min(3, len(completion) - 1))
        first = len(completion) - size
        if draw.random() < 0.3:  # something stands after the answer
            first = draw.randint(1, first)
        rollout = sc.Rollout(prompt, completion, advantage=1.0)
        group.append(Case(rollout, draw_spans(draw, first), (first, first + size)))
    return group


def draw_groups(count: int, seed: int = 0) -> list[list[Case]]:
    """Groups of `count` cases together, or a few more."""
    draw = random.Random(seed)
    groups: list[list[Case]] = []
    while sum(map(len, groups)) < count:
        groups.append(draw_group(draw))
    return groups


def flat(groups: Iterable[list[Case]]) -> list[Case]:
    return [case for group in groups for case in group]


def mixed_calls(groups: list[list[Case]]) -> list[list[Case]]:
    """The same cases in order, in calls of one rollout, of one group, and of one to five groups."""
    draw, rest, calls = random.Random(1), list(groups), []
    while rest:
        kind = draw.choice(("rollout", "group", "groups", "groups"))
        count = draw.randint(1, 5) if kind == "groups" else 1
        cases, rest = flat(rest[:count]), rest[count:]
        calls += [[case] for case in cases] if kind == "rollout" else [cases]
    return calls


@cache
def tokenizer() -> Any:
    return char_tokenizer()


def credit(model: Any, cases: list[Case], scorer: str, intervention: str, max_tokens: int = DEFAULT) -> list[sc.Credit]:
    return sc.assign_credit(
        model,
        tokenizer() if intervention == "filler" else None,
        [case.rollout for case in cases],
        sc.CreditConfig(scorer=scorer, intervention=intervention, max_tokens_per_forward=max_tokens),
        spans=[case.spans for case in cases],
        answers=[case.answer for case in cases],
    )


def credit_in_calls(model: Any, groups: list[list[Case]], scorer: str, intervention: str) -> list[sc.Credit]:
    """Every other call has room for 40 tokens a forward only."""
    calls = enumerate(mixed_calls(groups))
    return [one for i, call in calls for one in credit(model, call, scorer, intervention, 40 if i % 2 else DEFAULT)]


def numbers(credit: sc.Credit) -> list[float] | None:
    """The answer's log-probability, then the drops; None if one of them is not finite."""
    return None if credit.reason == "non_finite" else [credit.answer_logp, *(span.drop for span in credit.spans)]


def greatest_difference(credits: list[sc.Credit], expected: list[sc.Credit]) -> float:
    """In nats, over answers and drops; infinite where one is not finite and the other is."""
    worst = 0.0
    for one, other in zip(map(numbers, credits), map(numbers, expected), strict=True):
        if one is None or other is None:
            worst = worst if one is other else math.inf
        else:
            worst = max(worst, *(abs(a - b) for a, b in zip(one, other, strict=True)))
    return worst


def fallbacks(credits: list[sc.Credit]) -> int:
    return sum(one.cost.fallbacks for one in credits)


def drops(credits: list[sc.Credit]) -> list[float]:
    return [span.drop for one in credits for span in one.spans]


def hides_a_window(model: Any, case: Case) -> int:
    """How many rows of the case hide as much as a window reaches."""
    window = getattr(model.config, "sliding_window", None) or math.inf
    return sum(end - start >= window for start, end in case.spans)


@pytest.mark.slow
@pytest.mark.parametrize("intervention", INTERVENTIONS)
@pytest.mark.parametrize("family", FAMILIES)
def test_packed_equals_sequential_on_random_rollouts(family, intervention):
    model, groups = FAMILIES[family](), draw_groups(50, seed=INTERVENTIONS.index(intervention))
    cases = flat(groups)
    expected = credit(model, cases, "sequential", intervention)
    got = credit_in_calls(model, groups, "packed", intervention)
    assert greatest_difference(got, expected) < EXACT[torch.float32]
    left = sum(hides_a_window(model, case) for case in cases) if intervention == "attention" else 0
    assert fallbacks(got) == left < len(cases) / 10
    assert sum(one.reason == "non_finite" for one in expected) <= left
    matter = [abs(drop) > 0.1 for drop in drops(expected)]
    assert sum(matter) > 0.5 * len(matter)


@pytest.mark.parametrize("family", [family for family in FAMILIES if family not in ROUNDS_IN_FLOAT64])
def test_packed_equals_sequential_in_float64(family):
    model, groups = FAMILIES[family](torch.float64), draw_groups(6, seed=10)
    for intervention in INTERVENTIONS:
        expected = credit(model, flat(groups), "sequential", intervention)
        got = credit_in_calls(model, groups, "packed", intervention)
        assert greatest_difference(got, expected) < EXACT[torch.float64]
        assert all(numbers(one) for one in expected)


def last_logits(model: Any, ids: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1]


@pytest.mark.parametrize("family", ["gemma2", "gemma3", "mistral", "phi3"])
def test_rollouts_outrun_the_sliding_window(family):
    model, cases = FAMILIES[family](), flat(draw_groups(200))
    window = model.config.sliding_window
    longer = [len(case.rollout.prompt_ids) + case.answer[1] > window + 3 for case in cases]
    assert sum(longer) > len(cases) / 8
    ids = list(draw_ids(random.Random(4), 2 * window))
    narrow = last_logits(model, ids)
    model.config.sliding_window = 2 * window
    assert (last_logits(model, ids) - narrow).abs().max() > 0.1


@pytest.mark.parametrize("argument", ["attn_logit_softcapping", "final_logit_softcapping"])
def test_the_soft_caps_of_gemma2_bite(argument):
    model = FAMILIES["gemma2"]()
    ids = list(draw_ids(random.Random(4), 20))
    capped = last_logits(model, ids)
    setattr(model.config, argument, None)
    for layer in model.model.layers:
        layer.self_attn.attn_logit_softcapping = model.config.attn_logit_softcapping
    assert (last_logits(model, ids) - capped).abs().max() > 0.1


def test_half_of_the_layers_of_smollm3_have_no_positions():
    layers = FAMILIES["smollm3"]().model.layers
    assert [bool(layer.self_attn.use_rope) for layer in layers] == [True, False, True, False]


def pad_like_trl(cases: list[Case]) -> dict[str, torch.Tensor]:
    """Prompts padded on the left, completions on the right."""
    prompts = [list(case.rollout.prompt_ids) for case in cases]
    completions = [list(case.rollout.completion_ids) for case in cases]
    left, right = max(map(len, prompts)), max(map(len, completions))
    batch = {
        "prompt_ids": [[PAD] * (left - len(ids)) + ids for ids in prompts],
        "prompt_mask": [[0] * (left - len(ids)) + [1] * len(ids) for ids in prompts],
        "completion_ids": [ids + [PAD] * (right - len(ids)) for ids in completions],
        "completion_mask": [[1] * len(ids) + [0] * (right - len(ids)) for ids in completions],
        "advantages": [case.rollout.advantage for case in cases],
    }
    return {name: torch.tensor(value) for name, value in batch.items()}


@pytest.mark.slow
@pytest.mark.parametrize("family", [*FAMILIES, *FALLBACK])
def test_the_padding_of_trl_changes_no_score(family):
    model = (FAMILIES | FALLBACK)[family]()
    cases = flat(draw_groups(4, seed=5))
    unpadded = [replace(c, rollout=r) for c, r in zip(cases, rollouts_of(pad_like_trl(cases)), strict=True)]
    expected = credit(model, cases, "sequential", "pad")
    for scorer in ("sequential", "packed"):
        assert greatest_difference(credit(model, unpadded, scorer, "pad"), expected) < EXACT[torch.float32]


@pytest.mark.slow
@pytest.mark.parametrize("family", [*FAMILIES, *FALLBACK])
def test_pad_ids_left_in_a_prompt_are_tokens_like_any_other(family):
    model = (FAMILIES | FALLBACK)[family]()
    cases = flat(draw_groups(4, seed=6))
    padded = [replace(c, rollout=replace(c.rollout, prompt_ids=[PAD] * 3 + [*c.rollout.prompt_ids])) for c in cases]
    expected = credit(model, padded, "sequential", "pad")
    assert greatest_difference(credit(model, padded, "packed", "pad"), expected) < EXACT[torch.float32]
    assert greatest_difference(credit(model, cases, "sequential", "pad"), expected) > 1e-2


@pytest.mark.slow
@pytest.mark.parametrize("intervention", ["pad", "delete", "filler"])
@pytest.mark.parametrize("family", FALLBACK)
def test_a_family_that_cannot_be_packed_is_batched_and_equals_sequential(family, intervention):
    model, cases = FALLBACK[family](), flat(draw_groups(20, seed=7))
    expected = credit(model, cases, "sequential", intervention)
    with pytest.warns(UserWarning, match="cannot be packed") as caught:
        got = credit(model, cases, "packed", intervention)
    assert len([w for w in caught if "cannot be packed" in str(w.message)]) == 1
    assert greatest_difference(got, expected) < EXACT[torch.float32]
    assert fallbacks(got) == sum(1 + len(case.spans) for case in cases)
    matter = [abs(drop) > 0.1 for drop in drops(expected)]
    assert sum(matter) > 0.3 * len(matter)


@pytest.mark.parametrize("family", sorted(set(FALLBACK).difference(STATEFUL)))
def test_hiding_a_span_from_gpt_neo_equals_sequential(family):
    model, cases = FALLBACK[family](), flat(draw_groups(20, seed=7))
    expected = credit(model, cases, "sequential", "attention")
    with pytest.warns(UserWarning, match="cannot be packed"):
        got = credit(model, cases, "packed", "attention")
    assert greatest_difference(got, expected) < EXACT[torch.float32]


@pytest.mark.slow
@pytest.mark.parametrize("scorer", ["batched", "packed"])
@pytest.mark.parametrize("intervention", INTERVENTIONS)
def test_a_rotary_embedding_that_depends_on_the_longest_row_equals_sequential(intervention, scorer):
    model, groups = LONG_ROPE(), draw_groups(20, seed=11)
    trained = model.config.rope_parameters["original_max_position_embeddings"]
    sizes = [len(case.rollout.prompt_ids) + case.answer[1] for case in flat(groups)]
    assert min(sizes) <= trained < max(sizes)
    expected = credit(model, flat(groups), "sequential", intervention)
    got = credit_in_calls(model, groups, scorer, intervention)
    assert greatest_difference(got, expected) < EXACT[torch.float32]


@pytest.mark.parametrize("scorer", ["sequential", "batched", "packed"])
@pytest.mark.parametrize("family", STATEFUL)
def test_hiding_a_span_from_a_recurrent_state_is_refused(family, scorer):
    with pytest.raises(sc.ModelError, match="carries a state"):
        credit(FALLBACK[family](), flat(draw_groups(4, seed=8)), scorer, "attention")


BROKEN = [
    ("gpt_neox", "attention_mask", lambda mask: mask.roll(1, dims=-1)),
    ("mistral", "attention_mask", lambda mask: mask.roll(-1, dims=-1)),
    ("gemma3", "attention_mask", lambda masks: dict.fromkeys(masks, masks["full_attention"])),
    ("qwen3", "attention_mask", lambda masks: {name: mask.roll(1, dims=-2) for name, mask in masks.items()}),
    ("olmo2", "position_ids", lambda positions: positions + (positions > 5)),
    ("smollm3", "position_ids", lambda positions: positions - (positions > 5).long()),
    ("mixtral", "position_ids", lambda positions: positions + positions % 2),
]


@pytest.mark.parametrize(("family", "argument", "change"), BROKEN)
def test_a_planted_off_by_one_is_seen_by_the_comparison(family, argument, change, monkeypatch):
    groups = draw_groups(12, seed=9)
    expected = credit(FAMILIES[family](), flat(groups), "sequential", "pad")
    with pytest.raises(sc.ModelError, match="self-check failed"):
        credit_in_calls(sabotaged(FAMILIES[family](), argument, change), groups, "packed", "pad")
    monkeypatch.setitem(TOLERANCE, torch.float32, math.inf)
    got = credit_in_calls(sabotaged(FAMILIES[family](), argument, change), groups, "packed", "pad")
    assert greatest_difference(got, expected) > 1e-2


def test_a_mixture_of_experts_with_its_balancing_loss_on_is_packed():
    model = FAMILIES["qwen3_moe"]()
    model.config.output_router_logits = True
    rows = [row for row in uneven_rows() if row.hidden is None]
    with eval_mode(model):
        found = [logps[-1] for logps, _ in packed(model, rows, 1.0, 10_000)]
        model.config.output_router_logits = False
        assert found == pytest.approx([logps[-1] for logps, _ in sequential(model, rows, 1.0, 0)], abs=1e-4)


def test_a_horizon_on_a_recurrent_family_is_refused_in_a_sentence():
    rollouts = [sc.Rollout([3, 4, 5], list(range(6, 30)))]
    with pytest.raises(sc.ModelError, match="a horizon keeps keys and values"):
        sc.assign_credit(
            FALLBACK["mamba"](), None, rollouts, sc.CreditConfig(horizon=2), spans=[[(0, 9)]], answers=[(22, 24)]
        )


def test_a_row_with_a_horizon_that_falls_back_keeps_it():
    model = FAMILIES["mistral"]()
    rollouts, spans = [sc.Rollout([3, 4, 5], list(range(6, 40)))], [[(0, 9), (9, 18), (18, 25)]]
    drops = [
        [
            span.drop
            for span in sc.assign_credit(
                model,
                None,
                rollouts,
                sc.CreditConfig(horizon=2, intervention="attention", scorer=scorer),
                spans=spans,
                answers=[(30, 32)],
            )[0].spans
        ]
        for scorer in ("packed", "sequential")
    ]
    assert drops[0] == pytest.approx(drops[1], abs=1e-4)
