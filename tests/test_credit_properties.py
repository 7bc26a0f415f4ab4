"""Properties of credit over random rollouts."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_models import INDEX, char_tokenizer, ids_of, random_toy

import spancredit as sc
from spancredit.text.answers import locate_answer

PIECES = ["2 + 3 = 5", "so ", ". ", "#### 4", "\n", "the answer is 7", ",", "1.5", " 3*3=9.", "?", "ab cd ef"]
SETTINGS = st.fixed_dictionaries(
    {
        "mode": st.sampled_from(["counterfactual", "inverted", "random"]),
        "segmenter": st.sampled_from(["steps", "sentence", "line", "window"]),
        "intervention": st.sampled_from(["pad", "attention", "delete", "filler"]),
        "max_spans": st.integers(1, 6),
        "max_span_tokens": st.integers(1, 12),
    }
)
MODEL, TOKENIZER = random_toy(seed=5), char_tokenizer()


@settings(max_examples=120, deadline=None)
@given(
    text=st.lists(st.sampled_from(PIECES), max_size=12).map("".join),
    ending=st.sampled_from(["", "\n#### 4"]),
    config=SETTINGS,
    data=st.data(),
)
def test_credit_is_conserved_and_spans_tile_the_reasoning(text, ending, config, data):
    text += ending
    mask = data.draw(st.none() | st.lists(st.integers(0, 1), min_size=len(text), max_size=len(text)))
    rollout = sc.Rollout([INDEX["?"]], ids_of(text), data.draw(st.sampled_from([None, 1.0, -0.5])), mask)
    (credit,) = sc.assign_credit(MODEL, TOKENIZER, [rollout], sc.CreditConfig(**config))
    counted = credit.token_weights[torch.tensor(mask or [1] * len(text), dtype=torch.bool)]
    assert credit.token_weights.shape == (len(text),)
    if credit.reason is not None:
        assert credit.reason in sc.REASONS
        assert (credit.token_weights == 1).all()
    else:
        assert counted.mean().item() == pytest.approx(1.0, abs=1e-5)
    if credit.spans:
        found = locate_answer(text)
        assert [span.start for span in credit.spans] == [0, *(span.end for span in credit.spans)][:-1]
        assert credit.spans[-1].end == found.reasoning_end  # one character is one token
        assert (credit.answer.start, credit.answer.end) == (found.start, found.end)
        assert len(credit.spans) <= config["max_spans"]
