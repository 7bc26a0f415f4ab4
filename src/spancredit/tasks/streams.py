"""Where a stream of generated problems begins: the same split, seed and difficulty, the same draws."""

import random
from collections.abc import Iterable

from spancredit.errors import UnknownNameError

SPLITS = ("train", "held_out")


def draws(split: str, seed: int, difficulty: str, difficulties: Iterable[str]) -> random.Random:
    """The source of a stream's problems.

    Raises:
        UnknownNameError: if the split or the difficulty is not one of the known names.
    """
    if split not in SPLITS:
        raise UnknownNameError("split", split, SPLITS)
    if difficulty not in difficulties:
        raise UnknownNameError("difficulty", difficulty, difficulties)
    return random.Random(f"{split}/{seed}/{difficulty}")
