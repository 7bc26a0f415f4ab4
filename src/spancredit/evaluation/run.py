"""Answer every question, batch by batch, greedily and by samples. What a folder holds already is not done again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from spancredit.errors import ConfigError
from spancredit.evaluation.folder import EvalFolder
from spancredit.evaluation.generate import GREEDY, SAMPLING, Completed, complete
from spancredit.randomness import seeded
from spancredit.tasks.task import PASSED, Question, Task

Row = dict[str, Any]


@dataclass(frozen=True)
class Decoding:
    """How questions are answered.

    Args:
        samples: Sampled completions of each question, beside the greedy one.
        temperature: Of the samples.
        max_new_tokens: Of a completion.
        batch_size: Questions that are answered at a time. Samples depend on it, and on the seed.

    Raises:
        ConfigError: if a number is too small.
    """

    samples: int
    temperature: float
    max_new_tokens: int
    batch_size: int
    seed: int

    def __post_init__(self) -> None:
        for name, least in {"samples": 0, "max_new_tokens": 1, "batch_size": 1}.items():
            if getattr(self, name) < least:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected at least {least}.")
        if not self.temperature > 0:
            raise ConfigError(f"temperature is {self.temperature}; expected more than 0.")


def run(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    questions: Sequence[Question],
    decoding: Decoding,
    folder: EvalFolder,
    observe: Callable[[Sequence[Row]], None],
) -> list[Row]:
    """All rows, one a question; `observe` is called with those that are there, after each batch.

    A batch is written when all of it is done, and each draws from a seed of its own: an evaluation that was interrupted
    ends as it would have.
    """
    size = decoding.batch_size
    rows = folder.rows()
    if len(rows) < len(questions):
        rows = rows[: len(rows) // size * size]
        folder.rewind(len(rows))
    observe(rows)
    for start in range(len(rows), len(questions), size):
        batch = questions[start : start + size]
        columns = _answers(model, tokenizer, task, batch, decoding, start // size)
        made = [
            {"problem": start + i, "answer": question.answer, "greedy": column[0], "samples": column[1:]}
            for i, (question, column) in enumerate(zip(batch, zip(*columns, strict=True), strict=True))
        ]
        folder.add(made)
        rows += made
        observe(rows)
    return rows


def _answers(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    batch: Sequence[Question],
    decoding: Decoding,
    nth: int,
) -> list[list[Row]]:
    """For each question its greedy completion; for each sample, for each question, one more."""
    prompts, stops = [question.prompt for question in batch], task.prompting.stops

    def answer(**how: Any) -> list[Row]:
        return _judged(task, batch, complete(model, tokenizer, prompts, decoding.max_new_tokens, stops, **how))

    answers = [answer(**GREEDY)]
    with seeded(model.device, decoding.seed * 1_000_003 + nth):
        sampling = {**SAMPLING, "temperature": decoding.temperature}
        answers += [answer(**sampling) for _ in range(decoding.samples)]
    return answers


def _judged(task: Task, batch: Sequence[Question], completed: Sequence[Completed]) -> list[Row]:
    given = {"completions": [one.text for one in completed], "answer": [one.answer for one in batch]}
    if task.statuses is not None:
        return [
            {"text": one.text, "status": status, "right": status == PASSED, "truncated": one.truncated}
            for one, status in zip(completed, task.statuses(**given), strict=True)
        ]
    rows = []
    for one, verdict in zip(completed, task.reward(**given), strict=True):
        read = task.read(one.text)
        answer = None if read is None else str(read)
        rows.append({"text": one.text, "read": answer, "right": verdict == 1, "truncated": one.truncated})
    return rows
