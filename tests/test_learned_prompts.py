"""Adapters that learn a prompt: drops are the policy's own, and what reads places or caches is refused."""

import pytest
import torch
from toy_models import tiny

import spancredit as sc

peft = pytest.importorskip("peft")

PROMPT, COMPLETION = [5, 6, 7], list(range(1, 15))
SPANS, ANSWER = [(0, 4), (4, 8), (8, 11)], (12, 14)


@pytest.fixture(params=["PromptTuningConfig", "PrefixTuningConfig"])
def model(request):
    config = getattr(peft, request.param)(task_type="CAUSAL_LM", num_virtual_tokens=4)
    return peft.get_peft_model(tiny("llama", torch.float64), config).eval()


def credit(model, advantage=1.0, **settings):
    rollout = sc.Rollout(PROMPT, COMPLETION, advantage)
    config = sc.CreditConfig(**{"noise_floor": 0.0, **settings})
    (found,) = sc.assign_credit(model, None, [rollout], config, spans=[SPANS], answers=[ANSWER])
    return found


def answer_logp(model, completion):
    ids = torch.tensor([PROMPT + completion])
    with torch.no_grad():
        logps_LV = model(input_ids=ids).logits[0, -ids.shape[1] :].log_softmax(-1)
    places = range(len(PROMPT) + ANSWER[0], len(PROMPT) + ANSWER[1])
    return sum(float(logps_LV[place - 1, ids[0, place]]) for place in places)


@pytest.mark.filterwarnings("ignore:.*osition ids are not supported", "ignore:.*cannot be packed")
@pytest.mark.parametrize("scorer", ["sequential", "batched", "packed"])
def test_drops_are_those_of_the_policy_with_its_prompt(model, scorer):
    found = credit(model, scorer=scorer)
    clean = answer_logp(model, COMPLETION)
    assert found.answer_logp == pytest.approx(clean, abs=1e-9)
    for span, (start, end) in zip(found.spans, SPANS, strict=True):
        masked = COMPLETION[:start] + [0] * (end - start) + COMPLETION[end:]
        assert span.drop == pytest.approx(clean - answer_logp(model, masked), abs=1e-9)


@pytest.mark.filterwarnings("ignore:.*cannot be packed")
@pytest.mark.parametrize(
    "settings",
    [
        *({"scorer": name} for name in ("surprisal", "entropy", "attention", "gradient")),
        {"horizon": 2},
        {"mode": "blame"},
    ],
    ids=str,
)
def test_what_would_read_other_places_is_refused(model, settings):
    with pytest.raises(sc.ModelError, match="learns a prompt"):
        credit(model, advantage=-1.0, **settings)
