"""The embedded set: small functions, drawn from families, with tests whose answers the canonical solution gives.

Splits are disjoint by construction: a checksum of what a function is to do decides whether it is held out.
"""

import zlib
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from spancredit.errors import DataError
from spancredit.sandbox import Call
from spancredit.tasks.code.pieces import Sketch
from spancredit.tasks.code.problem import CodeProblem
from spancredit.tasks.code.sketches import FAMILIES
from spancredit.tasks.streams import draws

DIFFICULTIES = {"easy": 1, "medium": 2, "hard": 3}  # conditions, or cases, of a function
HELD_OUT_SHARE = 5  # one problem in five is held out, whatever the seed
EXAMPLES = 2
LEAST_VALUES = 3  # that differ, so that no constant passes most tests
PATIENCE = 2000  # draws in a row that bring nothing new


def problems(split: str, seed: int = 0, difficulty: str = "medium") -> Iterator[CodeProblem]:
    """Yield distinct problems; the same arguments give the same stream.

    Args:
        split: `train` or `held_out`.
        difficulty: How many conditions a function has: `easy`, `medium` or `hard`.

    Raises:
        UnknownNameError: if the split or the difficulty is not one of the known names.
        DataError: if there are no more that differ.
    """
    rng = draws(split, seed, difficulty, DIFFICULTIES)
    seen: set[str] = set()
    misses = 0
    while misses < PATIENCE:
        sketch = rng.choice(FAMILIES)(rng, DIFFICULTIES[difficulty])
        held_out = zlib.crc32(sketch.words.encode()) % HELD_OUT_SHARE == 0
        problem = _tested(sketch) if held_out == (split == "held_out") and sketch.words not in seen else None
        misses += 1
        if problem is not None:
            seen.add(sketch.words)
            misses = 0
            yield problem
    raise DataError(f"there are no more than {len(seen)} problems in split {split!r} of difficulty {difficulty!r}.")


def _tested(sketch: Sketch) -> CodeProblem | None:
    """The problem; None if its values hardly differ."""
    header = f"def {sketch.name}({', '.join(sketch.parameters)}):\n"
    canonical = "".join(f"    {line}\n" for line in sketch.body.splitlines())
    arguments = (*sketch.arguments, *sketch.edges)
    values = _values(sketch.name, header + canonical, arguments)
    if len(set(map(repr, values))) < LEAST_VALUES or repr(values[0]) == repr(values[1]):
        return None
    examples = "".join(
        f"    >>> {sketch.name}({', '.join(map(repr, given))})\n    {value!r}\n"
        for given, value in list(zip(arguments, values, strict=True))[:EXAMPLES]
    )
    return CodeProblem(
        name=f"functions/{sketch.name}-{zlib.crc32(repr((sketch.words, arguments)).encode()):08x}",
        prompt=f'{header}    """{sketch.words}.\n\n{examples}    """\n',
        entry_point=sketch.name,
        canonical=canonical,
        calls=tuple(Call(given) for given in arguments),
        expected=values,
    )


def _values(name: str, code: str, arguments: tuple[tuple[Any, ...], ...]) -> tuple[Any, ...]:
    """What the function returns, called right here: it is composed of our own pieces."""
    module: dict[str, Any] = {}
    exec(compile(code, f"<{name}>", "exec"), module)  # noqa: S102
    return tuple(module[name](*deepcopy(given)) for given in arguments)
