"""MBPP+ and HumanEval+ (Liu et al., arXiv 2305.01210), from the files that evalplus releases.

A line has a prompt, a canonical solution and inputs (`base_input`, `plus_input`). JSON has no tuples, sets or complex
numbers, so the inputs of some tasks of MBPP+ are turned back into what their solutions take.
"""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from spancredit.errors import DataError
from spancredit.sandbox import Call
from spancredit.tasks.code.problem import CodeProblem, Comparison

FILES = {"mbpp": "MbppPlus.jsonl.gz", "humaneval_plus": "HumanEvalPlus.jsonl.gz"}
FIELDS = {"task_id": str, "prompt": str, "entry_point": str, "canonical_solution": str, "base_input": list}
EXPECTED = f"expected an object with {', '.join(FIELDS)}, plus_input and atol"

HOW: dict[str, Comparison] = {  # where evalplus accepts more than an equal value
    **{f"Mbpp/{number}": "set" for number in (2, 7, 111, 140, 232, 579, 769)},
    **{f"Mbpp/{number}": "match" for number in (737, 787, 794)},
    "Mbpp/558": "digits",
    "Mbpp/581": "pyramid",
    "HumanEval/32": "root",
}


def load(name: str, folder: str) -> list[CodeProblem]:
    """Problems in their order.

    Args:
        name: `mbpp` or `humaneval_plus`.
        folder: That of the files, or the file itself, gzipped or not.

    Raises:
        DataError: if there is no such file, or a line of it is not of evalplus's form.
    """
    path = Path(folder).expanduser()
    if path.is_dir():
        path /= FILES[name]
    if not path.is_file():
        raise DataError(f"the file {path} does not exist; expected {FILES[name]} of evalplus's release.")
    problems = [_problem(row, f"{path} line {number}") for number, row in _rows(path)]
    if not problems:
        raise DataError(f"{path} holds no problem; {EXPECTED}.")
    return problems


def _rows(path: Path) -> list[tuple[int, Any]]:
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode()
        lines = enumerate(text.split("\n"), start=1)  # not at a U+2028, which a text of JSON may hold
        return [(number, json.loads(line)) for number, line in lines if line.strip()]
    except (EOFError, gzip.BadGzipFile, ValueError) as error:
        raise DataError(f"{path} is no file of JSON lines ({error}); {EXPECTED}.") from error


def _problem(row: Any, where: str) -> CodeProblem:
    fields = row if isinstance(row, dict) else {}
    for name, kind in FIELDS.items():
        if not isinstance(fields.get(name), kind):
            raise DataError(f"{where} has {name} {fields.get(name)!r:.40}; {EXPECTED}.")
    name = fields["task_id"]
    more = fields.get("plus_input") or []  # Mbpp/793 has an empty object
    restore = RESTORE.get(name, tuple)
    return CodeProblem(
        name=name,
        prompt=fields["prompt"],
        entry_point=fields["entry_point"],
        canonical=fields["canonical_solution"],
        calls=tuple(Call(restore(arguments)) for arguments in [*fields["base_input"], *more]),
        how=HOW.get(name, "equal"),
        atol=float(fields.get("atol", 0)),
    )


Restore = Callable[[list[Any]], tuple[Any, ...]]


def _each(change: Callable[[Any], Any]) -> Restore:
    return lambda arguments: tuple(map(change, arguments))


def _at(index: int, change: Callable[[Any], Any]) -> Restore:
    return lambda arguments: tuple(change(one) if i == index else one for i, one in enumerate(arguments))


def _tuples(value: Any) -> list[Any]:
    return [tuple(one) for one in value]


def _deep(value: Any) -> Any:
    return tuple(map(_deep, value)) if isinstance(value, list) else value


def _sets(value: list[Any]) -> list[Any]:
    return [set(one) if isinstance(one, list) and one else {} for one in value]


def _values(value: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(one) for key, one in value.items()}


def _mbpp(restore: Restore, *numbers: int) -> dict[str, Restore]:
    return {f"Mbpp/{number}": restore for number in numbers}


RESTORE: dict[str, Restore] = {
    **_mbpp(_each(tuple), 2, 116, 132, 143, 222, 261, 273, 394, 399, 421, 424, 429, 470, 560, 579, 596, 616, 630, 726),
    **_mbpp(_each(tuple), 740, 744, 809),
    **_mbpp(_each(_tuples), 63, 64, 70, 94, 120, 237, 272, 299, 400, 409, 417, 438, 473, 614, 780),
    **_mbpp(_each(lambda value: tuple(_tuples(value))), 259, 401, 445),
    **_mbpp(_each(_deep), 278, 580, 615, 791),
    **_mbpp(_at(0, tuple), 250, 307, 405, 446, 617, 720, 763, 808),
    **_mbpp(_at(0, _tuples), 75, 413, 444, 753),
    **_mbpp(_at(1, tuple), 106, 750),
    **_mbpp(_at(0, _sets), 115),
    **_mbpp(_at(0, _values), 722),
    **_mbpp(_at(0, complex), 252),
    **_mbpp(lambda given: (float(given[0]), complex(given[1])), 124),
}
