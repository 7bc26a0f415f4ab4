"""GSM8K (Cobbe et al., arXiv 2110.14168): grade-school word problems, from the hub or from JSONL files of its form.

A line has `question` and `answer`; the answer is a worked solution that ends `#### N`. The calculator marks of the
solutions (`<<48/2=24>>`) are taken out: no policy writes them.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from spancredit.errors import DataError
from spancredit.tasks.numbers import read_number

HUB, CONFIG = "openai/gsm8k", "main"
SPLITS = {"train": "train", "held_out": "test"}  # and what files and the hub call them
CALCULATOR_MARK = re.compile(r"<<[^<>\n]*>>")
EXPECTED = "expected 'question' and 'answer', the answer ending in #### and a number"


@dataclass(frozen=True)
class Problem:
    """A question, its gold answer as written, and its worked solution (a completion, with a leading space)."""

    question: str
    solution: str
    answer: str

    @property
    def identity(self) -> tuple[str, str]:
        """Two problems are the same if these are: question and answer."""
        return self.question, self.answer

    def row(self) -> dict[str, Any]:
        """Columns of a dataset that a reward or a judge may read."""
        return asdict(self)


def is_file(dataset: str) -> bool:
    """Whether a dataset's name is that of one file, which may be missing, and not of a folder or on the hub."""
    path = Path(dataset).expanduser()
    return path.is_file() or path.suffix == ".jsonl"


def load(split: str, dataset: str | None = None) -> list[Problem]:
    """Problems in their order.

    Args:
        split: `train` or `held_out`, which is GSM8K's test split.
        dataset: A JSONL file, a folder with train.jsonl and test.jsonl, or a name on the hub (default: openai/gsm8k).

    Raises:
        DataError: if there is no such file, the hub cannot be reached, or a line is not of GSM8K's form.
    """
    name = dataset or HUB
    path = Path(name).expanduser()
    if path.is_dir():
        path /= f"{SPLITS[split]}.jsonl"
    if path.is_file():
        return read_jsonl(path)
    if is_file(name) or name.startswith((".", "/", "~")):
        raise DataError(
            f"the dataset {path} does not exist; expected a folder with train.jsonl and test.jsonl, or a JSONL file."
        )
    return _problems(_hub_rows(name, SPLITS[split]), f"{name}, {SPLITS[split]} split, row")


def read_jsonl(path: Path) -> list[Problem]:
    """Problems of one file; the errors of `load`."""
    with path.open(encoding="utf-8", errors="replace") as file:
        numbered = [(number, line) for number, line in enumerate(file, start=1) if line.strip()]
    return _problems(((number, _json(path, number, line)) for number, line in numbered), f"{path} line")


def _json(path: Path, number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:  # deep brackets, thousands of digits
        raise DataError(f"{path} line {number} is not JSON ({error}); expected one object a line.") from error


def _hub_rows(name: str, split: str) -> Iterable[tuple[int, Any]]:
    import datasets
    from huggingface_hub.errors import HfHubHTTPError

    try:
        rows = datasets.load_dataset(name, CONFIG if name == HUB else None, split=split)
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError, HfHubHTTPError) as error:
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise DataError(
            f"cannot load the dataset {name!r} from the hub ({first}); a folder with train.jsonl and test.jsonl, or "
            "one JSONL file with question and answer on each line, does as well."
        ) from error
    return enumerate(rows, start=1)


def _problems(numbered: Iterable[tuple[int, Any]], where: str) -> list[Problem]:
    found = [_problem(row, f"{where} {number}") for number, row in numbered]
    if not found:
        raise DataError(f"{where.rpartition(' ')[0]} holds no problem; {EXPECTED}.")
    return found


def _problem(row: Any, where: str) -> Problem:
    fields = row if isinstance(row, dict) else {}
    for name in ("question", "answer"):
        if not isinstance(fields.get(name), str):
            got = f"{name} {fields[name]!r}" if name in fields else f"no {name}"
            raise DataError(f"{where} has {got}; {EXPECTED}.")
    solution, marker, gold = CALCULATOR_MARK.sub("", fields["answer"]).rpartition("####")
    if not marker or read_number(gold.strip()) is None:
        raise DataError(f"{where} has an answer that ends {fields['answer'][-40:]!r}; {EXPECTED}.")
    return Problem(fields["question"].strip(), f" {solution.strip()}\n#### {gold.strip()}", gold.strip())
