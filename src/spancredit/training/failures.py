"""What a user's function raises becomes an error that names the function."""

import reprlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from spancredit.errors import SpanCreditError, TrainerError

SHORT = reprlib.Repr()
SHORT.maxstring = SHORT.maxother = 120


@contextmanager
def named(sentence: Callable[[str], str]) -> Iterator[None]:
    """What fails inside fails with this sentence about it. An error of ours says enough, and is left alone.

    Raises:
        TrainerError: if anything else is raised inside.
    """
    try:
        yield
    except SpanCreditError:
        raise
    except Exception as error:
        raise TrainerError(sentence(SHORT.repr(error))) from error
