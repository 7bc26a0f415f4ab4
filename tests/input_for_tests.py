"""A text and a rollout with its own ranges, and how the tests of odd and bad input have them scored."""

from toy_models import char_tokenizer, random_toy

import spancredit as sc

TEXT = "so 2 + 3 = 5.\n#### 5"
RANGES = {"spans": [[(0, 2), (2, 4)]], "answers": [(5, 6)]}
ROLLOUT = sc.Rollout([3, 4], [5, 6, 7, 8, 9, 10])


def own(model=None, rollouts=(ROLLOUT,), config=None, **ranges):
    return sc.assign_credit(model or random_toy(), None, rollouts, config, **{**RANGES, **ranges})


def read(text, tokenizer=None, model=None, **config):
    return sc.assign_credit(model or random_toy(), tokenizer or char_tokenizer(), [text], sc.CreditConfig(**config))[0]
