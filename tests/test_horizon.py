"""Horizons, influence, chunks and blocks: what packed computes beside whole counterfactuals, held to definitions."""

import random
from itertools import pairwise

import pytest
import torch
import transformers.integrations.flex_attention as flex_integration
from torch.nn.attention.flex_attention import create_mask, flex_attention
from toy_models import MODELS, VOCAB, char_tokenizer, sabotaged, tiny
from transformers import AutoModelForCausalLM, LlamaConfig

import spancredit as sc
from spancredit.counterfactual import projection
from spancredit.counterfactual.forward import eval_mode, row_logps
from spancredit.counterfactual.interventions import Row, clean_row, intervene
from spancredit.counterfactual.masks import Intervals, Sight
from spancredit.counterfactual.measure import Target, scoring_spans
from spancredit.counterfactual.parts import Part, batches
from spancredit.counterfactual.scorers import packed, sequential
from spancredit.counterfactual.trie import Trie
from spancredit.types import Span
from spancredit.weighting import importances, mediated

REPLACEMENT = {"pad": [0], "filler": [11, 12]}


def case(seed: int, horizons: tuple[int | None, ...] = (None,), scored: bool = False) -> list[Row]:
    """A clean row, and counterfactuals of its spans under every intervention that keeps positions."""
    draw = random.Random(seed)
    prompt, size = draw.randint(1, 12), draw.randint(12, 40)
    ids = [draw.randrange(1, VOCAB) for _ in range(prompt + size)]
    answer = Span(size - draw.randint(1, 3), size, "answer")
    cuts = [0, *sorted(draw.sample(range(1, answer.start), 3))]
    spans = [Span(a, min(b, a + 7), "text") for a, b in pairwise(cuts)]
    clean = clean_row(sc.Rollout(ids[:prompt], ids[prompt:]), answer)
    if scored:
        clean = scoring_spans(Target(clean, tuple((prompt + span.start, prompt + span.end) for span in spans)))
    rows = [clean]
    for span in spans:
        for name in ("pad", "attention", "filler"):
            where = (prompt + span.start, prompt + span.end)
            rows.append(intervene(clean, where, name, REPLACEMENT.get(name, []), draw.choice(horizons)))
    return rows


def distance(model, rows, max_tokens=10_000) -> float:
    with eval_mode(model):
        pairs = zip(packed(model, rows, 0.8, max_tokens), sequential(model, rows, 0.8, 0), strict=True)
        return max(abs(x - y) for (got, _), (exact, _) in pairs for x, y in zip(got, exact, strict=True))


@pytest.mark.parametrize(("family", "dtype"), MODELS)
@pytest.mark.parametrize("max_tokens", [60, *(pytest.param(n, marks=pytest.mark.slow) for n in (7, 10_000))])
def test_packed_horizons_and_scored_spans_equal_the_definition(family, dtype, max_tokens):
    model = tiny(family, dtype)
    rows = [row for seed in range(4) for row in case(seed, (0, 1, 3, 9, 100))]
    rows += [row for seed in range(4, 7) for row in case(seed, scored=True)]
    assert sum(row.resume is not None for row in rows) > 10
    assert distance(model, rows, max_tokens) < (1e-9 if dtype == torch.float64 else 1e-4)


def test_what_a_horizon_costs_is_what_its_three_forwards_hold():
    model, rows = tiny("llama"), [row for row in case(1, (3,)) if row.resume is not None]
    held = []
    with eval_mode(model):
        model.register_forward_pre_hook(
            lambda _, args, named: held.append(named["input_ids"].numel()), with_kwargs=True
        )
        costs = [cost for _, cost in sequential(model, rows, 1.0, 0)]
    assert [cost.tokens for cost in costs] == [sum(held[i : i + 3]) for i in range(0, len(held), 3)]


def test_parts_that_come_in_whole_blocks_are_counted_so():
    parts = [Part(range(10 * k, 10 * k + 10), []) for k in range(6)]
    assert [len(some) for some in batches(parts, 60, 0)] == [6]
    assert [len(some) for some in batches(parts, 60, 0, lambda size: -(-size // 16) * 16)] == [3, 3]


def test_a_horizon_beyond_the_answer_is_exact_and_a_nearer_one_is_not():
    model = tiny("llama", torch.float64)
    exact, far, near = (case(3, (horizon,)) for horizon in (None, 100, 0))
    assert all(row.resume is None for row in far)
    with eval_mode(model):
        assert packed(model, far, 1.0, 10_000) == packed(model, exact, 1.0, 10_000)
        near_logps = [logps for logps, _ in packed(model, near, 1.0, 10_000)]
        exact_logps = [logps for logps, _ in packed(model, exact, 1.0, 10_000)]
    differences = [abs(a[-1] - b[-1]) for a, b in zip(exact_logps, near_logps, strict=True)]
    assert max(differences) > 0.1


@pytest.mark.parametrize("name", ["pad", "attention", "filler"])
def test_with_one_layer_reach_0_is_exact_since_nothing_mixes_before_the_answer(name):
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 4}
    config = LlamaConfig(vocab_size=VOCAB, initializer_range=0.4, max_position_embeddings=64, **sizes)
    model = AutoModelForCausalLM.from_config(config).double().eval()
    clean = case(5)[0]
    where = (clean.answer_start - 9, clean.answer_start - 4)
    rows = [intervene(clean, where, name, REPLACEMENT.get(name, []), horizon) for horizon in (None, 0)]
    with eval_mode(model):
        (exact, _), (reach_0, _) = packed(model, rows, 1.0, 10_000)
    assert reach_0 == pytest.approx(exact, abs=1e-10)


def test_a_wider_horizon_recomputes_more_tokens():
    model = tiny("llama")
    tokens = []
    for horizon in (0, 2, 5, None):
        with eval_mode(model):
            tokens.append(sum(cost.tokens for _, cost in packed(model, case(7, (horizon,)), 1.0, 10_000)))
    assert tokens == sorted(set(tokens))


@pytest.mark.parametrize(
    ("argument", "change"),
    [
        ("position_ids", lambda positions: positions + (positions > 9)),
        ("attention_mask", lambda mask: mask.roll(1, dims=-1)),
    ],
)
def test_a_planted_error_in_a_horizon_is_seen(argument, change):
    rows = [row for seed in range(3) for row in case(seed, (2,))]
    model = sabotaged(tiny("llama"), argument, change)
    with eval_mode(model):
        got = packed(model, rows, 1.0, 10_000)
    with eval_mode(tiny("llama")):
        exact = sequential(tiny("llama"), rows, 1.0, 0)
    assert max(abs(a[-1] - b[-1]) for (a, _), (b, _) in zip(got, exact, strict=True)) > 1e-2


@pytest.mark.parametrize("intervention", ["pad", "attention", "delete", "filler"])
def test_influence_is_what_every_later_span_loses(intervention):
    model, generator = tiny("llama", torch.float64), random.Random(1)
    ids = [generator.randrange(1, VOCAB) for _ in range(30)]
    rollout, spans, answer = sc.Rollout(ids[:6], ids[6:]), [(0, 4), (4, 9), (11, 20)], (22, 24)
    credits = {
        scorer: sc.assign_credit(
            model,
            char_tokenizer(),
            [rollout],
            sc.CreditConfig(intervention=intervention, influence=True, scorer=scorer),
            spans=[spans],
            answers=[answer],
        )[0]
        for scorer in ("packed", "batched", "sequential")
    }
    packed_KK = credits["packed"].influence
    assert packed_KK.shape == (3, 3)
    assert packed_KK.dtype == torch.float32
    assert (packed_KK.tril() == 0).all()
    for other in ("batched", "sequential"):
        assert packed_KK.tolist() == [pytest.approx(row, abs=1e-5) for row in credits[other].influence.tolist()]
    whole = clean_row(rollout, Span(11, 20, "text"))
    where, filler = (6, 10), char_tokenizer().encode(" ...", add_special_tokens=False)
    masked = intervene(whole, where, intervention, {"pad": [0], "filler": filler}.get(intervention, []))
    with eval_mode(model):
        (clean,), (without,) = (row_logps(model, [row], 1.0)[0] for row in (whole, masked))
    assert packed_KK[0, 2].item() == pytest.approx(clean - without, abs=1e-5)
    assert [span.drop for span in credits["packed"].spans] == pytest.approx(
        [span.drop for span in credits["sequential"].spans], abs=1e-9
    )


def test_mediated_credit_is_made_of_the_drops_and_the_influence_it_measured():
    generator = random.Random(1)
    ids = [generator.randrange(1, VOCAB) for _ in range(30)]
    credits = [
        sc.assign_credit(
            tiny("llama"),
            None,
            [sc.Rollout(ids[:6], ids[6:])],
            sc.CreditConfig(mode=mode, noise_floor=0.0, full_scale=1e-6),
            spans=[[(0, 4), (4, 9), (11, 20)]],
            answers=[(22, 24)],
        )[0]
        for mode in ("counterfactual", "mediated")
    ]
    direct, through = credits
    drops_K = [span.drop for span in through.spans]
    assert drops_K == pytest.approx([span.drop for span in direct.spans], abs=1e-6)
    expected = importances(mediated(drops_K, through.influence, 0.0), 0.0, 1e-6)
    assert [span.importance for span in through.spans] == pytest.approx(expected)
    assert expected != pytest.approx([span.importance for span in direct.spans], abs=1e-4)
    assert float(through.token_weights.mean()) == pytest.approx(1, abs=1e-6)


def test_without_the_request_there_is_no_influence():
    (credit,) = sc.assign_credit(
        tiny("llama"), None, [sc.Rollout([1, 2], [3, 4, 5, 6])], spans=[[(0, 1), (1, 2)]], answers=[(3, 4)]
    )
    assert credit.influence is None
    assert credit.method == "exact"


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"horizon": -1}, "horizon is -1"),
        ({"horizon": 1.5}, "horizon is 1.5"),
        ({"horizon": 4, "intervention": "delete"}, "delete"),
        ({"horizon": 4, "scorer": "batched"}, "needs scorer 'packed' or 'sequential'; got 'batched'"),
        ({"horizon": 4, "budget": 0.1}, "budget 0.1, which chooses one"),
        ({"budget": 0.1, "scorer": "sequential"}, "needs scorer 'packed'"),
        ({"budget": 1.0}, "budget is 1.0"),
        ({"influence": "yes"}, "influence is 'yes'"),
        ({"influence": True, "horizon": 4}, "influence"),
        ({"influence": True, "scorer": "entropy"}, "influence"),
        ({"mode": "mediated", "budget": 0.1}, "mediated"),
    ],
)
def test_settings_that_exclude_each_other_are_refused(settings, says):
    with pytest.raises(sc.ConfigError, match=says):
        sc.CreditConfig(**settings)


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2"])
def test_logits_in_chunks_give_the_same_numbers(family, monkeypatch):
    model, rows = tiny(family), [row for seed in range(3) for row in case(seed, (None, 0), scored=True)]
    monkeypatch.setattr(projection, "LOGITS", 5 * VOCAB)
    assert distance(model, [row for row in rows if row.resume is None or len(row.scored) == 1]) < 1e-4


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("family", ["llama", "gemma2"])
@pytest.mark.parametrize("max_tokens", [40, 10_000])
def test_flex_attention_and_its_blocks_give_the_same_numbers(family, max_tokens, monkeypatch):
    """Uncompiled, on the CPU; what CUDA runs is the same rule and the same blocks, compiled."""
    monkeypatch.setattr(
        flex_integration,
        "compile_friendly_flex_attention",
        lambda query, key, value, training=False, **options: flex_attention(query, key, value, **options),
    )
    model = tiny(family)
    rows = [row for seed in range(5) for row in case(seed, (None, 0, 3))]
    with eval_mode(model):
        exact = [logps[-1] for logps, _ in sequential(model, rows, 1.0, 0)]
        model.config._attn_implementation = "flex_attention"
        found = packed(model, rows, 1.0, max_tokens)
    assert sum(cost.fallbacks for _, cost in found) == 0
    assert [logps[-1] for logps, _ in found] == pytest.approx(exact, abs=1e-4)


@pytest.mark.parametrize("window", [None, 8])
def test_blocks_hold_everything_that_the_mask_shows(window):
    trie = Trie()
    for seed in range(12):
        for row in case(seed, (None, 0, 3)):
            trie.add(row)
    parts = [Part(range(600), []), Part(range(600, len(trie)), list(range(0, 600, 2)))]
    sight = Sight.of(Intervals.of(trie), parts, 300, max(600, len(trie) - 600))
    dense_BNK, blocks = sight.dense(window), sight.blocks(window)
    rule_BNK = create_mask(blocks.mask_mod, len(parts), 1, *dense_BNK.shape[1:], device="cpu")[:, 0]
    assert torch.equal(rule_BNK, dense_BNK)
    listed = blocks.to_dense()[:, 0].bool().repeat_interleave(128, 1).repeat_interleave(128, 2)
    assert not (dense_BNK & ~listed[:, : dense_BNK.shape[1], : dense_BNK.shape[2]]).any()
    assert not listed.all()
