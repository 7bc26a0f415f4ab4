"""An engine that holds the policy: what it says of whole sequences is all that credit needs, and gives the same."""

from dataclasses import replace

import pytest
import torch
from toy_models import INDEX, char_tokenizer, chat, tiny

import spancredit as sc
from spancredit.errors import ConfigError, ModelError, RolloutError, UnknownNameError

TEXTS = ("so 2 + 3 = 5. then 5 + 4 = 9. fine.\n#### 9", "2 + 3 = 6. no, 7 - 1 = 6.\n#### 6", "7 * 1 = 7.\n#### 7")
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-6}
SETTINGS = [
    *({"intervention": name} for name in ("pad", "delete", "filler")),
    *({"mode": name} for name in ("inverted", "random", "blame", "mediated")),
    {"scorer": "surprisal"},
    {"influence": True, "intervention": "delete"},
    {"temperature": 0.7},
]


def rollouts(**more):
    """Of both signs, one of them with a token that the loss does not count."""
    advantages = (1.0, -0.5, 2.0)
    found = [chat(text, advantage=advantage, **more) for text, advantage in zip(TEXTS, advantages, strict=True)]
    return [replace(found[0], loss_mask=[0] + [1] * (len(TEXTS[0]) - 1)), *found[1:]]


class Engine:
    """A transformers model that is asked for whole sequences, one by one; it remembers what it was asked."""

    def __init__(self, model, temperature=1.0):
        self.model, self.temperature = model, temperature
        self.calls: list[list[list[int]]] = []

    def __call__(self, sequences):
        self.calls.append(sequences)
        return [self._one(torch.tensor(ids)) for ids in sequences]

    @torch.no_grad()
    def _one(self, ids_L):
        logps_LV = (self.model(input_ids=ids_L[None]).logits[0] / self.temperature).log_softmax(-1)
        return [None, *logps_LV[:-1].gather(1, ids_L[1:, None])[:, 0].tolist()]


def close(one, other, tolerance):
    assert [(s.start, s.end, s.kind, s.text) for s in one.spans] == [
        (s.start, s.end, s.kind, s.text) for s in other.spans
    ]
    assert (one.answer, one.reason, one.method) == (other.answer, other.reason, other.method)
    assert one.answer_logp == pytest.approx(other.answer_logp, abs=tolerance)
    for name in ("drop", "importance", "weight"):
        expected = [getattr(span, name) for span in other.spans]
        assert [getattr(span, name) for span in one.spans] == pytest.approx(expected, abs=tolerance)
    torch.testing.assert_close(one.token_weights, other.token_weights, atol=tolerance, rtol=0)
    assert (one.influence is None) == (other.influence is None)
    if other.influence is not None:
        torch.testing.assert_close(one.influence, other.influence, atol=tolerance, rtol=0)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_an_engine_gives_what_the_policy_itself_gives(settings, dtype):
    model, config = tiny("llama", dtype, positions=128), sc.CreditConfig(**settings)
    engine = Engine(model, config.temperature)
    asked = sc.weights_for(rollouts(), engine, char_tokenizer(), config)
    own = sc.assign_credit(model, char_tokenizer(), rollouts(), config)
    assert [credit.reason for credit in own] == [None] * 3
    assert any(abs(span.drop) > 0.1 for credit in own for span in credit.spans)
    for one, other in zip(asked, own, strict=True):
        close(one, other, TOLERANCE[dtype])
    assert len(engine.calls) == 1


def test_drops_of_every_scorer_are_the_same_here():
    model = tiny("llama", positions=128)
    found = [
        sc.weights_for(rollouts(), Engine(model), char_tokenizer(), sc.CreditConfig(scorer=scorer))
        for scorer in ("packed", "batched", "sequential")
    ]
    for others in found[1:]:
        for one, other in zip(found[0], others, strict=True):
            close(one, other, 0)


def test_the_engine_reads_clean_and_counterfactual_rows_up_to_the_answer_and_no_more():
    engine = Engine(tiny("llama", positions=128))
    rollout = chat("2 + 3 = 5.\n#### 5 ok")
    (credit,) = sc.weights_for([rollout], engine, char_tokenizer())
    clean = [*rollout.prompt_ids, *rollout.completion_ids[: credit.answer.end]]
    masked = []
    for span in credit.spans:
        ids = list(rollout.completion_ids[: credit.answer.end])
        ids[span.start : span.end] = [INDEX["<pad>"]] * (span.end - span.start)
        masked.append([*rollout.prompt_ids, *ids])
    assert engine.calls == [[clean, *masked]]
    assert (credit.cost.tokens, credit.cost.forwards) == (len(clean) * (1 + len(masked)), 1 + len(masked))


def test_own_spans_and_answers_need_no_tokenizer():
    model, rollout = tiny("llama", torch.float64), chat(TEXTS[0], advantage=1.0)
    ranges = {"spans": [[(0, 14), (14, 29)]], "answers": [(len(TEXTS[0]) - 1, len(TEXTS[0]))]}
    config = sc.CreditConfig(intervention="delete")
    (asked,) = sc.weights_for([rollout], Engine(model), None, config, **ranges)
    (own,) = sc.assign_credit(model, None, [rollout], config, **ranges)
    assert [(span.start, span.end) for span in asked.spans] == [(0, 14), (14, 29)]
    close(asked, own, 1e-6)


@pytest.mark.parametrize(
    ("config", "some", "reason"),
    [
        ({"mode": "uniform"}, rollouts(), "uniform"),
        ({}, [replace(one, advantage=0.0) for one in rollouts()], "zero_advantage"),
        ({}, [chat("no idea")], "no_answer"),
    ],
)
def test_the_engine_is_not_asked_where_there_is_nothing_to_score(config, some, reason):
    engine = Engine(tiny("llama"))
    credits = sc.weights_for(some, engine, char_tokenizer(), sc.CreditConfig(**config))
    assert {credit.reason for credit in credits} == {reason}
    assert all(
        torch.equal(c.token_weights, torch.ones(len(r.completion_ids))) for c, r in zip(credits, some, strict=True)
    )
    assert engine.calls == []
    assert sc.weights_for([], engine, char_tokenizer()) == []


def test_a_rollout_is_not_changed_by_what_is_beside_it():
    model = tiny("llama", positions=128)
    together = sc.weights_for([*rollouts(), chat("no idea")], Engine(model), char_tokenizer())
    alone = [sc.weights_for([one], Engine(model), char_tokenizer())[0] for one in rollouts()]
    for one, other in zip(together, alone, strict=False):
        close(one, other, 0)
    assert together[3].reason == "no_answer"


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"horizon": 8}, "horizon 8"),
        ({"budget": 0.1}, "budget 0.1"),
        ({"intervention": "attention"}, "intervention 'attention'"),
        *(({"scorer": name}, f"scorer '{name}'") for name in ("entropy", "attention", "gradient")),
    ],
)
def test_what_needs_the_policy_itself_is_refused_before_the_engine_is_asked(settings, named):
    engine = Engine(tiny("llama", positions=128))
    with pytest.raises(ConfigError, match=named) as refused:
        sc.weights_for(rollouts(), engine, char_tokenizer(), sc.CreditConfig(**settings))
    assert not isinstance(refused.value, UnknownNameError)
    assert engine.calls == []


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (lambda found: found[:-1], r"returned \d+ sequences; expected one for each of \d+"),
        (lambda found: [*found, found[0]], r"returned \d+ sequences; expected one for each of \d+"),
        (lambda found: [found[0][:-1], *found[1:]], r"\d+ numbers for sequence 0; expected \d+"),
        (lambda found: [*found[:2], [*found[2], 0.0], *found[3:]], r"\d+ numbers for sequence 2; expected \d+"),
        (lambda found: None, "returned a NoneType; expected"),
        (lambda found: iter(found), "returned a list_iterator; expected"),
        (lambda found: [found[0], 3.0, *found[2:]], "a float for sequence 1; expected"),
        (lambda found: [[*found[0][:-1], None], *found[1:]], "sequence 0 .*None; expected a number"),
        (lambda found: [[*found[0][:-1], "-1.5"], *found[1:]], "sequence 0 .*'-1.5'; expected a number"),
        (lambda found: [[*found[0][:-1], [-1.5, -0.1]], *found[1:]], r"sequence 0 .*\[-1.5, -0.1\]; expected a number"),
        (lambda found: [torch.tensor([[-1.0, -2.0]] * len(one)) for one in found], "sequence 0 .*; expected a number"),
        (lambda found: [[-(logp or 0.0) for logp in one] for one in found], "log-probabilities, at most 0"),
    ],
)
def test_an_engine_that_does_not_return_a_number_a_token_is_refused(bad, said):
    engine = Engine(tiny("llama", positions=128))
    with pytest.raises(ModelError, match=said):
        sc.weights_for(rollouts(), lambda sequences: bad(engine(sequences)), char_tokenizer())


@pytest.mark.parametrize(
    "form", [torch.tensor, tuple, lambda one: torch.tensor(one).numpy()], ids=["tensor", "tuple", "array"]
)
def test_an_engine_may_return_tensors_or_arrays(form):
    model = tiny("llama", positions=128)
    engine = Engine(model)
    formed = sc.weights_for(rollouts(), lambda some: [form([0.0, *one[1:]]) for one in engine(some)], char_tokenizer())
    for one, other in zip(formed, sc.weights_for(rollouts(), engine, char_tokenizer()), strict=True):
        close(one, other, 1e-5)


@pytest.mark.parametrize("wrong", [float("nan"), float("-inf")])
def test_a_number_that_is_not_finite_leaves_its_rollout_uniform(wrong):
    engine = Engine(tiny("llama", positions=128))

    def broken(sequences):
        found = engine(sequences)
        return [[*found[0][:-1], wrong], *found[1:]]

    credits = sc.weights_for(rollouts(), broken, char_tokenizer())
    assert [credit.reason for credit in credits] == ["non_finite", None, None]
    assert torch.equal(credits[0].token_weights, torch.ones(len(TEXTS[0])))


def test_no_pad_token_is_refused_unless_the_intervention_needs_none():
    engine, tokenizer = Engine(tiny("llama", positions=128)), char_tokenizer(pad=False)
    with pytest.raises(ModelError, match="pad token"):
        sc.weights_for(rollouts(), engine, tokenizer)
    assert engine.calls == []
    assert sc.weights_for(rollouts(), engine, tokenizer, sc.CreditConfig(intervention="delete"))[0].reason is None


def test_wrong_rollouts_and_ranges_are_refused_before_the_engine_is_asked():
    engine = Engine(tiny("llama", positions=128))
    with pytest.raises(RolloutError, match="empty prompt"):
        sc.weights_for([sc.Rollout([], [5])], engine, char_tokenizer())
    with pytest.raises(RolloutError, match="spans has 1 entries"):
        sc.weights_for(rollouts(), engine, char_tokenizer(), spans=[[(0, 2)]])
    with pytest.raises(ModelError, match="tokenizer is None"):
        sc.weights_for(rollouts(), engine, None, sc.CreditConfig(intervention="delete"))
    assert engine.calls == []


def test_numbers_that_stand_one_place_too_early_are_noticed():
    engine = Engine(tiny("llama"))

    def shifted(sequences):
        return [[*logps[1:], 0.0] for logps in engine(sequences)]

    with pytest.raises(sc.ModelError, match="each place has to hold its own token's log-probability"):
        sc.weights_for(rollouts(), shifted, char_tokenizer())


def test_logits_of_all_tokens_and_what_is_no_function_are_named_in_one_sentence():
    with pytest.raises(sc.ModelError, match=r"a Tensor of shape \(7,\); expected a number for each token"):
        sc.weights_for(rollouts(), lambda asked: [torch.zeros(len(ids), 7) for ids in asked], char_tokenizer())
    with pytest.raises(sc.ConfigError, match=r"logprobs is a \w+; expected a function"):
        sc.weights_for(rollouts(), char_tokenizer(), Engine(tiny("llama")))
