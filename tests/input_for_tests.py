"""A text and a rollout with its own ranges, how the tests of odd and bad input have them scored, and a full disk."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from toy_models import char_tokenizer, random_toy

import spancredit as sc

TEXT = "so 2 + 3 = 5.\n#### 5"
RANGES = {"spans": [[(0, 2), (2, 4)]], "answers": [(5, 6)]}
ROLLOUT = sc.Rollout([3, 4], [5, 6, 7, 8, 9, 10])


def own(model=None, rollouts=(ROLLOUT,), config=None, **ranges):
    return sc.assign_credit(model or random_toy(), None, rollouts, config, **{**RANGES, **ranges})


def read(text, tokenizer=None, model=None, **config):
    return sc.assign_credit(model or random_toy(), tokenizer or char_tokenizer(), [text], sc.CreditConfig(**config))[0]


def assert_one_sentence(message: str) -> None:
    assert "\n" not in message
    assert message.endswith((".", "?"))


@contextmanager
def full_disk(name: str, room: int) -> Iterator[None]:
    """Files of this name take `room` characters more, and then none."""
    original, left = Path.open, room

    def opened(path, mode="r", *args, **named):
        file = original(path, mode, *args, **named)
        if path.name == name and mode[0] in "wa":
            file.write = partial(limited, file.write)
        return file

    def limited(write, text):
        nonlocal left
        fits, left = text[:left], max(0, left - len(text))
        write(fits)
        if fits != text:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "open", opened)
        yield
