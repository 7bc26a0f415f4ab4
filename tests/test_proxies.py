"""Every proxy's number is what it says, by hand or by another way; batches, chunks and the model do not change it."""

import math
from itertools import product
from typing import get_args

import pytest
import torch
from torch import nn
from toy_models import MODELS, NoPositionsLM, ToyLM, random_toy, record_calls, row_of, table_of, tiny
from transformers import AutoModelForCausalLM, LlamaForCausalLM, MambaConfig
from transformers.modeling_outputs import CausalLMOutput

import spancredit as sc
from spancredit.counterfactual import projection, proxies
from spancredit.counterfactual.forward import eval_mode, row_logps
from spancredit.counterfactual.interventions import Row, intervene
from spancredit.counterfactual.proxies import score_proxy
from spancredit.names import ProxyName

PROMPT, FIRST, SECOND, ANSWER = 1, 5, 6, 7
NAMES = get_args(ProxyName)
BY_HAND = Row((PROMPT, FIRST, SECOND, ANSWER), ((1, 2), (2, 3), (1, 3), (3, 4)))


def tokens(size: int, seed: int = 0) -> list[int]:
    return torch.randint(1, 64, (size,), generator=torch.Generator().manual_seed(seed)).tolist()


def uneven() -> list[Row]:
    """Clean rows of four lengths, two of them equal, out of order; each has two spans and an answer scored."""
    sizes = (9, 30, 17, 30, 12)
    return [
        Row(tuple(tokens(size, seed)), ((2, 5), (5, size - 3), (size - 2, size))) for seed, size in enumerate(sizes)
    ]


def score(model, name, rows, replacement=(0,), temperature=1.0, max_tokens=10_000) -> list[tuple[float, ...]]:
    with eval_mode(model):
        return [found for found, _ in score_proxy(model, name, rows, replacement, temperature, max_tokens)]


def flat(scores: list[tuple[float, ...]]) -> list[float]:
    return [number for found in scores for number in found]


def stateful() -> nn.Module:
    torch.manual_seed(0)
    config = MambaConfig(vocab_size=64, hidden_size=16, num_hidden_layers=1, state_size=4, initializer_range=0.4)
    return AutoModelForCausalLM.from_config(config).eval()


class EmbedsFirst(LlamaForCausalLM):
    """Embeds before it calls its trunk, as models that also read images do."""

    def forward(self, input_ids=None, **inputs):
        return super().forward(inputs_embeds=self.get_input_embeddings()(input_ids), **inputs)


class TakesNoUseCache(LlamaForCausalLM):
    def forward(self, input_ids=None, attention_mask=None, position_ids=None, output_attentions=None):
        masks = {"attention_mask": attention_mask, "position_ids": position_ids}
        return super().forward(input_ids, output_attentions=output_attentions, **masks)


class LinearLM(nn.Module):
    """The log-probability of ANSWER is the sum of the tokens' embeddings, each a negative number."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.embed = nn.Embedding(10, 1, _weight=-torch.rand(10, 1, generator=generator, dtype=torch.float64) - 0.1)

    def get_input_embeddings(self):
        return self.embed

    def forward(self, input_ids, attention_mask=None, position_ids=None):
        numbers = self.embed(input_ids)[..., 0]
        if attention_mask is not None:
            numbers = numbers * attention_mask
        logp_BL = numbers.cumsum(1)[..., None]
        others = ((1 - logp_BL.exp()) / 9).log()
        return CausalLMOutput(logits=torch.where(torch.arange(10) == ANSWER, logp_BL, others))


@pytest.mark.parametrize("temperature", [1.0, 2.0, 0.5])
def test_surprisal_and_entropy_equal_those_computed_by_hand(temperature):
    model = ToyLM(table_of({(PROMPT, FIRST): math.log(6), (FIRST, ANSWER): math.log(3)}))
    odds, more = 6 ** (1 / temperature), 3 ** (1 / temperature)
    first, second, answer = odds / (odds + 9), 1 / (odds + more + 8), more / (odds + more + 8)

    def entropy(*shares):
        return -sum(share * math.log(share) for share in shares)

    surprisals = [-math.log(first), -math.log(second)]
    entropies = [entropy(first, *[1 / (odds + 9)] * 9), entropy(odds * second, answer, *[second] * 8)]
    for name, by_hand in (("surprisal", surprisals), ("entropy", entropies)):
        (got,) = score(model, name, [BY_HAND], temperature=temperature)
        assert got == pytest.approx((*by_hand, sum(by_hand) / 2, math.log(answer)), abs=1e-9)


def test_entropy_of_a_token_that_cannot_be_is_finite():
    model = ToyLM(table_of({(PROMPT, index): -math.inf for index in range(2, 10)}))
    assert score(model, "entropy", [row_of((PROMPT, 1, 1), 1)])[0][-1] == pytest.approx(math.log(0.5))
    row = Row((PROMPT, 0, 1), ((1, 2), (2, 3)))
    assert score(model, "entropy", [row])[0] == pytest.approx((math.log(2), math.log(0.5)))


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2"])
def test_surprisal_is_what_the_scorers_say_and_every_proxy_gives_their_answer(family, temperature):
    model, rows = tiny(family), uneven()
    with eval_mode(model):
        expected = [row_logps(model, [row], temperature)[0] for row in rows]
    for row, logps, got in zip(rows, expected, score(model, "surprisal", rows, temperature=temperature), strict=True):
        sizes = [end - start for start, end in row.scored[:-1]]
        assert got[:-1] == pytest.approx([-logp / size for logp, size in zip(logps, sizes, strict=False)], abs=1e-4)
    for name in NAMES:
        answers = [got[-1] for got in score(model, name, rows, temperature=temperature)]
        assert answers == pytest.approx([logps[-1] for logps in expected], abs=1e-4)


def test_uniform_attention_falls_on_a_span_by_its_size():
    model = tiny("llama")
    for layer in model.model.layers:
        nn.init.zeros_(layer.self_attn.q_proj.weight)
    row = Row(tuple(tokens(12)), ((1, 4), (4, 10), (10, 12)))
    by_hand = [size * (1 / 10 + 1 / 11) / 2 for size in (3, 6)]
    assert score(model, "attention", [row])[0][:-1] == pytest.approx(by_hand, abs=1e-6)


@pytest.mark.parametrize(("family", "dtype"), MODELS)
def test_attention_shares_of_all_that_stands_before_a_token_add_to_1(family, dtype):
    row = Row(tuple(tokens(20)), ((0, 3), (3, 7), (7, 18), (18, 19), (19, 20)))
    *shares, _ = score(tiny(family, dtype), "attention", [row])[0]
    assert sum(shares) == pytest.approx(1, abs=1e-5)
    assert all(0 < share < 1 for share in shares)


@pytest.mark.parametrize("replacement", [[0], [11, 12], []])
@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2"])
def test_gradient_is_the_slope_towards_the_replacement(family, replacement):
    model, row, temperature = tiny(family, torch.float64), uneven()[1], 0.7
    embed = model.get_input_embeddings()
    *slopes, clean = score(model, "gradient", [row], replacement, temperature)[0]
    start = row.answer_start

    def answer_logp(embeddings):
        logps = (model(inputs_embeds=embeddings).logits[0] / temperature).log_softmax(-1)
        return float(sum(logps[place - 1, row.input_ids[place]] for place in range(start, len(row.input_ids))))

    for span, slope in zip(row.scored, slopes, strict=False):
        with eval_mode(model):
            clean_1LH, taken_1LH = embed(torch.tensor([row.input_ids])), torch.zeros(1)
            if replacement:
                masked = intervene(row, span, "filler", replacement)
                taken_1LH = embed(torch.tensor([masked.input_ids]))
                assert answer_logp(taken_1LH) == pytest.approx(row_logps(model, [masked], temperature)[0][-1], abs=1e-5)
            change_1LH = torch.zeros_like(clean_1LH)
            change_1LH[:, slice(*span)] = (taken_1LH - clean_1LH)[:, slice(*span)]
            fall = answer_logp(clean_1LH - 1e-3 * change_1LH) - answer_logp(clean_1LH + 1e-3 * change_1LH)
            assert answer_logp(clean_1LH) == pytest.approx(clean, abs=1e-5)
        # The norms of Llama and Gemma are float32 in any dtype, so that smaller steps are lost in rounding.
        assert slope == pytest.approx(fall / 2e-3, rel=2e-3, abs=2e-3)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", [EmbedsFirst, TakesNoUseCache])
def test_how_a_model_calls_its_trunk_makes_no_difference(kind, name):
    plain = tiny("llama", torch.float64)
    other = kind(plain.config).to(torch.float64).eval()
    other.load_state_dict(plain.state_dict())
    expected = flat(score(plain, name, uneven()))
    assert flat(score(other, name, uneven())) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("logits", [2**26, 10])
@pytest.mark.parametrize("replacement", [[0], [2, 3]])
def test_gradient_of_a_linear_model_is_the_drop(monkeypatch, replacement, logits):
    monkeypatch.setattr(proxies, "LOGITS", logits)
    model = LinearLM()
    rows = [Row((1, 5, 6, 7), ((1, 2), (2, 3), (3, 4))), Row((1, 3, 4, 5, 6, 8, 7), ((1, 3), (3, 6), (6, 7)))]
    for row, got in zip(rows, score(model, "gradient", rows, replacement), strict=True):
        masked = [intervene(row, span, "pad", replacement) for span in row.scored[:-1]]
        with eval_mode(model):
            clean, *logps = [row_logps(model, [one], 1.0)[0][-1] for one in (row, *masked)]
        assert got == pytest.approx((*[clean - logp for logp in logps], clean), abs=1e-9)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("family", "dtype"), MODELS)
def test_a_batch_gives_what_its_rows_give_one_at_a_time(family, dtype, name):
    model, rows = tiny(family, dtype), uneven()
    tolerance = 1e-4 if dtype == torch.float32 else 1e-9  # nats, in proportion for more than 1
    alone = flat([found for row in rows for found in score(model, name, [row], [11, 12], 0.7)])
    assert all(map(math.isfinite, alone))
    for max_tokens in (1, 40, 10_000):
        assert flat(score(model, name, rows, [11, 12], 0.7, max_tokens)) == pytest.approx(
            alone, rel=tolerance, abs=tolerance
        )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2"])
def test_logits_in_chunks_change_nothing(monkeypatch, family, name):
    model, rows = tiny(family), uneven()
    whole = flat(score(model, name, rows))
    monkeypatch.setattr(projection, "LOGITS", 3 * 64)
    assert flat(score(model, name, rows)) == pytest.approx(whole, rel=0, abs=1e-4)


def test_the_layers_have_one_backward_however_many_chunks_the_logits_have(monkeypatch):
    monkeypatch.setattr(projection, "LOGITS", 3 * 64)
    model, backwards = tiny("llama"), []
    model.model.layers[0].register_full_backward_hook(lambda *_: backwards.append(1))
    score(model, "gradient", uneven())
    assert len(backwards) == 1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("max_tokens", [1, 60, 10_000])
def test_cost_counts_padding_forwards_and_the_backward_and_keeps_to_max_tokens(name, max_tokens):
    model, rows = tiny("llama"), uneven()
    calls = record_calls(model)
    with eval_mode(model):
        total = sum((cost for _, cost in score_proxy(model, name, rows, [0], 1.0, max_tokens)), sc.Cost())
    sizes = [call["input_ids"].numel() for call in calls]
    assert total == sc.Cost(sum(sizes) * (3 if name == "gradient" else 1), len(calls))
    assert all(call["input_ids"].numel() <= max_tokens or len(call["input_ids"]) == 1 for call in calls)
    assert len(calls) == {1: len(rows), 60: 2, 10_000: 1}[max_tokens]


def test_attention_probabilities_are_held_to_a_limit(monkeypatch):
    model, rows = tiny("llama"), uneven()
    monkeypatch.setattr(proxies, "PROBABILITIES", 2 * 4 * 30 * 30 * 2)
    calls = record_calls(model)
    score(model, "attention", rows)
    assert [tuple(call["input_ids"].shape) for call in calls] == [(2, 30), (3, 17)]


@pytest.mark.parametrize(
    ("make", "name"),
    [*product([lambda: random_toy(kind=NoPositionsLM)], NAMES[:2]), *product([stateful], ["surprisal", "gradient"])],
)
def test_a_model_that_cannot_be_padded_is_batched_at_equal_lengths_only(make, name):
    model = make()
    rows = uneven()
    alone = flat([found for row in rows for found in score(model, name, [row])])
    calls = record_calls(model)
    assert flat(score(model, name, rows)) == pytest.approx(alone, abs=1e-4)
    assert sorted(tuple(call["input_ids"].shape) for call in calls) == [(1, 9), (1, 12), (1, 17), (2, 30)]
    assert not any("attention_mask" in call for call in calls)


@pytest.mark.parametrize("name", NAMES)
def test_the_model_is_left_as_it_was(name):
    model, rows = tiny("gpt2").train(), uneven()
    model.transformer.h[0].eval()
    modes = [module.training for module in model.modules()]
    implementation, weights = model.config._attn_implementation, {k: v.clone() for k, v in model.state_dict().items()}
    assert score(model, name, rows) == score(model, name, rows)
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    assert [module.training for module in model.modules()] == modes
    assert model.config._attn_implementation == implementation == "sdpa"
    assert not any(module._forward_hooks for module in (model, model.transformer, model.transformer.wte))
    assert all(torch.equal(weights[key], value) for key, value in model.state_dict().items())
    assert torch.is_grad_enabled()


def test_attention_is_restored_when_the_model_raises():
    model = tiny("llama")
    with pytest.raises(IndexError):
        score(model, "attention", [row_of((999, 1, 2), 1)])
    assert model.config._attn_implementation == "sdpa"
    assert not model._forward_hooks


@pytest.mark.parametrize("make", [random_toy, stateful])
def test_a_model_without_attentions_is_refused(make):
    model = make()
    with pytest.raises(sc.ModelError, match=r"got no attention probabilities from (ToyLM|MambaForCausalLM); expected"):
        score(model, "attention", uneven())


def test_a_model_without_an_embedding_layer_is_refused():
    with pytest.raises(sc.ModelError, match="needs a model with get_input_embeddings; ToyLM has none"):
        score(random_toy(), "gradient", uneven())


def test_nothing_to_score_gives_nothing():
    assert sc.assign_credit(tiny("llama"), None, [], sc.CreditConfig(scorer="attention"), spans=[], answers=[]) == []
