"""A probe makes the outcome short: what is asked after a completion, and how likely the policy finds the reply."""

import pytest
import torch
from toy_models import VOCAB, char_tokenizer, chat, ids_of, tiny

import spancredit as sc

CODE = "x = 3\ny = x + 2\n"
PROBE = sc.Probe(ids_of("y = "), ids_of("5"))


def logp(model, ids, value):
    """Of the last tokens, `value` of them, after all before."""
    with torch.no_grad():
        logits_LV = model(input_ids=torch.tensor([ids])).logits[0].double().log_softmax(-1)
    return sum(float(logits_LV[i - 1, ids[i]]) for i in range(len(ids) - value, len(ids)))


def rollout(text=CODE, probe=PROBE, **more):
    return chat(text, probe=probe, **more)


@pytest.mark.parametrize("scorer", ["sequential", "batched", "packed"])
def test_the_drop_is_that_of_the_value_after_the_suffix(scorer):
    model, given = tiny("llama", torch.float64), rollout()
    spans = [(0, 10), (10, len(given.completion_ids))]
    (credit,) = sc.assign_credit(model, None, [given], sc.CreditConfig(scorer=scorer, answer_weight=9.0), spans=[spans])
    asked = [*PROBE.suffix_ids, *PROBE.value_ids]
    clean = logp(model, [*given.prompt_ids, *given.completion_ids, *asked], 1)
    assert credit.answer_logp == pytest.approx(clean, abs=1e-9)
    for span, (start, end) in zip(credit.spans, spans, strict=True):
        hole = [*given.completion_ids[:start], *[0] * (end - start), *given.completion_ids[end:]]
        assert span.drop == pytest.approx(clean - logp(model, [*given.prompt_ids, *hole, *asked], 1), abs=1e-9)
    assert credit.answer is None
    assert len(credit.token_weights) == len(given.completion_ids)
    assert credit.token_weights.mean().item() == pytest.approx(1, abs=1e-6)


def test_the_whole_completion_is_reasoning_and_what_ends_it_is_not():
    model, tokenizer = tiny("llama"), char_tokenizer()
    eos = tokenizer.eos_token_id
    given = rollout(CODE + "#### 5\n")
    ended = sc.Rollout(given.prompt_ids, [*given.completion_ids, eos, eos], probe=PROBE)
    config = sc.CreditConfig(segmenter="python", noise_floor=0.0)
    plain, with_end = sc.assign_credit(model, tokenizer, [given, ended], config)
    size = len(given.completion_ids)
    for credit in (plain, with_end):
        assert credit.spans[0].start == 0
        assert credit.spans[-1].end == size
        assert [span.end for span in credit.spans[:-1]] == [span.start for span in credit.spans[1:]]
    assert [span.kind for span in plain.spans][:2] == ["code:Assign", "code:Assign"]
    assert with_end.answer_logp == pytest.approx(plain.answer_logp, abs=1e-5)
    assert len(with_end.token_weights) == size + 2
    (silent,) = sc.assign_credit(model, tokenizer, [sc.Rollout([5], [eos], probe=PROBE)], config)
    assert silent.reason == "no_span"


def test_rollouts_with_and_without_a_probe_are_scored_together_and_by_an_engine_alike():
    model, tokenizer = tiny("llama", torch.float64, positions=128), char_tokenizer()
    rollouts = [rollout(), chat("2 + 3 = 5.\n#### 5"), rollout(advantage=0.0)]
    credits = sc.assign_credit(model, tokenizer, rollouts)
    assert [credit.answer is None for credit in credits] == [True, False, True]
    assert credits[2].reason == "zero_advantage"

    def logprobs(sequences):
        return [[0.0, *(logp(model, ids[: i + 1], 1) for i in range(1, len(ids)))] for ids in sequences]

    for mine, engines in zip(credits, sc.weights_for(rollouts, logprobs, tokenizer), strict=True):
        torch.testing.assert_close(engines.token_weights, mine.token_weights, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("probe", "words"),
    [
        (sc.Probe([1], []), "rollout 0 has a probe without a value"),
        (sc.Probe([VOCAB], [1]), f"id {VOCAB} in its probe's suffix_ids"),
        (sc.Probe([], [-1]), "id -1 in its probe's value_ids"),
    ],
)
def test_a_probe_that_cannot_be_asked_is_refused(probe, words):
    with pytest.raises(sc.RolloutError, match=words):
        sc.assign_credit(tiny("llama"), char_tokenizer(), [rollout(probe=probe)])


def test_a_probe_that_does_not_fit_into_the_model_leaves_the_rollout_uniform():
    (credit,) = sc.assign_credit(tiny("llama", positions=28), char_tokenizer(), [rollout()])
    assert credit.reason == "over_model_limit"
