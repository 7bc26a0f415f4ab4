"""Input that cannot be meant is refused in one sentence: what came, what was expected, and in which rollout."""

import math
import re

import numpy as np
import pytest
import torch
from input_for_tests import ROLLOUT, TEXT, assert_one_sentence, own, read
from toy_models import VOCAB, char_tokenizer, chat, random_toy

import spancredit as sc


@pytest.mark.parametrize(
    ("error", "pattern", "call"),
    [
        (
            sc.RolloutError,
            r"rollout 1 has an empty prompt; expected at least one token",
            lambda: sc.assign_credit(random_toy(), char_tokenizer(), [chat(TEXT), chat(TEXT, prompt="")]),
        ),
        (
            sc.RolloutError,
            r"rollout 1 has id 64 in its prompt_ids; expected ids from 0 to 63",
            lambda: sc.assign_credit(random_toy(), char_tokenizer(), [chat(TEXT), sc.Rollout([1, VOCAB], [5])]),
        ),
        (
            sc.RolloutError,
            r"rollout 0 has id -100 in its completion_ids; expected ids from 0 to 63",
            lambda: sc.assign_credit(random_toy(), char_tokenizer(), [sc.Rollout([1], [5, -100])]),
        ),
        (
            sc.RolloutError,
            r"rollout 0 has the str '3 \+ 4' as its prompt_ids; expected token ids, whole numbers",
            lambda: sc.assign_credit(random_toy(), char_tokenizer(), [sc.Rollout("3 + 4", [5])]),
        ),
        (
            sc.RolloutError,
            r"rollout 0 has the list \[5, '7'\] as its completion_ids; expected token ids",
            lambda: sc.assign_credit(random_toy(), char_tokenizer(), [sc.Rollout([1], [5, "7"])]),
        ),
        (
            sc.RolloutError,
            r"rollout 0 has the list \[0.5, 1.5\] as its completion_ids; expected token ids",
            lambda: sc.assign_credit(random_toy(), char_tokenizer(), [sc.Rollout([1], [0.5, 1.5])]),
        ),
        (
            sc.RolloutError,
            r"rollout 0 has a loss_mask of 2 entries; expected one for each of its 3 completion tokens",
            lambda: own(rollouts=[sc.Rollout([1], [5, 6, 7], loss_mask=[1, 1])]),
        ),
        (
            sc.RolloutError,
            r"rollout 0 has advantage nan; expected a finite number",
            lambda: own(rollouts=[sc.Rollout([1], [5, 6, 7], advantage=math.nan)]),
        ),
        (
            sc.RolloutError,
            r"rollout 0 has advantage -inf; expected a finite number",
            lambda: own(rollouts=[sc.Rollout([1], [5, 6, 7], advantage=-math.inf)]),
        ),
        (
            sc.RolloutError,
            r"rollout 0 has span \(1, 4\) after span \(0, 2\); expected .*not overlap",
            lambda: own(spans=[[(0, 2), (1, 4)]]),
        ),
        (
            sc.RolloutError,
            r"rollout 0 has span \(0, 2\) after span \(2, 4\); expected spans in order",
            lambda: own(spans=[[(2, 4), (0, 2)]]),
        ),
        (
            sc.RolloutError,
            r"rollout 0 has span \(4, 6\); expected .* <= 5, before the answer",
            lambda: own(spans=[[(0, 2), (4, 6)]]),
        ),
        (sc.RolloutError, r"rollout 0 has span \(-1, 2\); expected 0 <= start", lambda: own(spans=[[(-1, 2)]])),
        (sc.RolloutError, r"rollout 0 has span \(2, 2\); expected .*start < end", lambda: own(spans=[[(2, 2)]])),
        (
            sc.RolloutError,
            r"rollout 0 has answer \(5, 7\); expected .* <= 6, inside the completion",
            lambda: own(answers=[(5, 7)]),
        ),
        (sc.RolloutError, r"rollout 0 has span 0; expected a pair", lambda: own(spans=[(0, 2)])),
        (
            sc.RolloutError,
            r"rollout 0 has answer \(1, 2, 3\); expected a pair",
            lambda: own(answers=[(1, 2, 3)]),
        ),
        (sc.RolloutError, r"span \(0.0, 2.0\); expected .* whole numbers", lambda: own(spans=[[(0.0, 2.0)]])),
        (sc.RolloutError, r"span \('0', '2'\); expected .* whole numbers", lambda: own(spans=[[("0", "2")]])),
        (sc.RolloutError, r"span None; expected a pair", lambda: own(spans=[[None]])),
        (
            sc.RolloutError,
            r"rollout 0 has the NoneType None for its spans; expected pairs",
            lambda: own(spans=[None]),
        ),
        (sc.RolloutError, r"rollout 0 has span 'l'; expected a pair", lambda: own(spans=["lines"])),
        (sc.RolloutError, r"rollout 0 has answer 'ab'; expected a pair", lambda: own(answers=["ab"])),
        (
            sc.RolloutError,
            r"rollout 0 has answer array\(\[5., 6.\]\); expected a pair",
            lambda: own(answers=np.array([[5.0, 6.0]])),
        ),
        (sc.RolloutError, r"spans is the int 3; expected a list, one entry", lambda: own(spans=3)),
        (
            sc.RolloutError,
            r"rollout 0 has the str '111' as its loss_mask; expected 1 or 0",
            lambda: own(rollouts=[sc.Rollout([1], [5, 6, 7], loss_mask="111")]),
        ),
        (
            sc.RolloutError,
            r"rollout 0 has the list \[None, 1, 1\] as its loss_mask; expected 1 or 0",
            lambda: own(rollouts=[sc.Rollout([1], [5, 6, 7], loss_mask=[None, 1, 1])]),
        ),
        (
            sc.RolloutError,
            r"rollout 0 has advantage '1'; expected a finite number or None",
            lambda: own(rollouts=[sc.Rollout([1], [5, 6, 7], advantage="1")]),
        ),
        (
            sc.RolloutError,
            r"rollout 0 has advantage tensor\(\[1., 2.\]\); expected a finite number",
            lambda: own(rollouts=[sc.Rollout([1], [5, 6, 7], advantage=torch.tensor([1.0, 2.0]))]),
        ),
        (
            sc.RolloutError,
            r"rollout 0 has the NoneType None as its completion_ids; expected token ids",
            lambda: own(rollouts=[sc.Rollout([1], None)]),
        ),
        (
            sc.RolloutError,
            r"rollout 0 has a str as its probe; expected a Probe",
            lambda: own(rollouts=[sc.Rollout([1], [5], probe="5")]),
        ),
        (sc.RolloutError, r"rollouts is a Rollout; expected a list of Rollout", lambda: own(rollouts=ROLLOUT)),
        (sc.RolloutError, r"rollout 0 is a dict; expected a Rollout", lambda: own(rollouts=[{"prompt_ids": [1]}])),
        (sc.ConfigError, r"config is a dict; expected a CreditConfig or None", lambda: own(config={"boost": 3})),
        (
            sc.RolloutError,
            r"rollout 0 has advantage '1'; expected a finite number or None",
            lambda: sc.weights_for([sc.Rollout([1], [5], advantage="1")], len, char_tokenizer()),
        ),
        (
            sc.RolloutError,
            r"rollout 0 has the list \['x'\] as its drops; expected a number for each of its spans",
            lambda: sc.credit_from_drops([ROLLOUT], [[(0, 4)]], [["x"]]),
        ),
        (
            sc.RolloutError,
            r"rollout 0 has the list \[None\] as its drops; expected a number",
            lambda: sc.credit_from_drops([ROLLOUT], [[(0, 4)]], [[None]]),
        ),
        (
            sc.RolloutError,
            r"rollout 0 has the float 1.0 as its drops; expected a number",
            lambda: sc.credit_from_drops([ROLLOUT], [[(0, 4)]], [1.0]),
        ),
        (
            sc.RolloutError,
            r"drops is the NoneType None; expected a list",
            lambda: sc.credit_from_drops([ROLLOUT], [[(0, 4)]], None),
        ),
        (
            sc.ConfigError,
            r"full_scale is '1'; expected None or a number above 0",
            lambda: sc.credit_from_drops([ROLLOUT], [[(0, 4)]], [[1.0]], full_scale="1"),
        ),
        (
            sc.RolloutError,
            r"spans has 2 entries; expected one for each of 1 rollouts",
            lambda: own(spans=[(0, 2), (2, 4)]),
        ),
        (sc.RolloutError, r"answers has 0 entries; expected one for each of 1 rollouts", lambda: own(answers=[])),
        (
            sc.ModelError,
            r"tokenizer is None and spans is None; expected a tokenizer, or both spans and answers",
            lambda: own(spans=None),
        ),
        (sc.ModelError, r"tokenizer is None and answers is None; expected", lambda: own(answers=None)),
        (
            sc.ModelError,
            r"'filler' needs a tokenizer to encode its text; got None",
            lambda: own(config=sc.CreditConfig(intervention="filler")),
        ),
        (
            sc.ModelError,
            r"'filler' needs at least one token; '' encodes to none",
            lambda: read(chat(TEXT), intervention="filler", filler=""),
        ),
        (
            sc.ModelError,
            r"'pad' needs a pad token, .*set tokenizer.pad_token .*or choose 'attention'",
            lambda: read(chat(TEXT), char_tokenizer(pad=False), random_toy(pad_token_id=None)),
        ),
        (
            sc.ModelError,
            r"'pad' puts id 64 in a span's place; expected an id below .* 64: resize",
            lambda: own(random_toy(pad_token_id=VOCAB)),
        ),
        (sc.ModelError, r"'pad' puts id -1 in a span's place", lambda: own(random_toy(pad_token_id=-1))),
        (
            sc.UnknownNameError,
            r"unknown mode 'counterfactal'; expected one of .*Did you mean 'counterfactual'",
            lambda: sc.CreditConfig(mode="counterfactal"),
        ),
        (sc.UnknownNameError, r"unknown scorer 'fast'; expected one of", lambda: sc.CreditConfig(scorer="fast")),
        (sc.UnknownNameError, r"unknown intervention None; expected", lambda: sc.CreditConfig(intervention=None)),
        (sc.ConfigError, r"temperature is 0; expected more than 0", lambda: sc.CreditConfig(temperature=0)),
        (sc.ConfigError, r"min_weight is nan; expected at least 0", lambda: sc.CreditConfig(min_weight=math.nan)),
    ],
    ids=lambda value: re.sub(r"[^a-z0-9 ]", "", value)[:40] if isinstance(value, str) else "",
)
def test_what_cannot_be_meant_raises_one_sentence(error, pattern, call):
    with pytest.raises(error, match=pattern) as caught:
        call()
    assert isinstance(caught.value, sc.SpanCreditError)
    assert_one_sentence(str(caught.value))
