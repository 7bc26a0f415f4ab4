"""Tasks: problems, how they are asked, and what judges a completion. `load_task` makes one from its settings."""

import warnings
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any, Protocol

from transformers import PreTrainedTokenizerBase

from spancredit.errors import ConfigError
from spancredit.tasks import gsm8k, numbers, wordproblems
from spancredit.tasks.chat import render, takes_system
from spancredit.tasks.code.outcome import call_probes, execution_credit
from spancredit.tasks.code.sets import CodeSet
from spancredit.tasks.prompts import Prompt, Prompting, Worked
from spancredit.tasks.settings import TaskSettings

HELD_OUT = 500
GENERATED = {"train": 4000, "held_out": HELD_OUT}  # problems of the embedded task, which never ends
GSM8K_PROMPT = "Question: {question}\nAnswer:"
PASSED = "passed"  # the status of a right completion, where a task says how each one fared
GSM8K_INSTRUCTION = "Reason step by step, and end with one line: #### and the number."


class Problem(Worked, Protocol):
    """What every task's problems have."""

    @property
    def answer(self) -> Any: ...
    @property
    def identity(self) -> Any:
        """Everything that decides what is asked and what is right, as JSON knows it; the same in every process."""
        ...

    def row(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Question:
    """A prompt, and the gold answer by which its completion is judged."""

    prompt: Prompt
    answer: str


@dataclass(frozen=True)
class Task:
    """Problems of both splits, how they are asked, and what judges a completion.

    Args:
        problems: Of a split, `train` or `held_out`, at most so many (None: as many as the settings say).
        reward: TRL's form; 1 for a right completion, else 0.
        read: A completion's answer, by which equal ones are counted in a vote; None if it has none.
        prompting: How a problem is asked.
        statuses: As `reward`, but in words: `passed`, or why a completion is not right. None if nothing more is known.
        shares: As `reward`, but the share of a problem's tests that a completion passes. None if there are no tests.
        functions: For outcomes of `settings.OUTCOMES` the `credit_func` or `probe_func` of `CreditGRPOTrainer`;
            without either, credit is measured on the answer.
    """

    problems: Callable[[str, int | None], Sequence[Problem]]
    reward: Callable[..., list[float]]
    read: Callable[[str], Hashable | None]
    prompting: Prompting
    statuses: Callable[..., list[str]] | None = None
    shares: Callable[..., list[float]] | None = None
    functions: Mapping[str, dict[str, Callable[..., Any]]] = field(default_factory=dict)

    def questions(self, split: str, count: int | None = None) -> list[Question]:
        return self.asking(self.problems(split, count))

    def asking(self, problems: Sequence[Problem]) -> list[Question]:
        return [Question(self.prompting.of(one), str(one.answer)) for one in problems]

    def rows(self, split: str) -> list[dict[str, Any]]:
        """For TRL's trainers: `prompt`, and whatever else a problem has."""
        return [{**one.row(), "prompt": self.prompting.of(one)} for one in self.problems(split, None)]


def load_task(settings: TaskSettings, seed: int, tokenizer: PreTrainedTokenizerBase) -> Task:
    """The task of these settings.

    Args:
        seed: Of generated problems.
        tokenizer: The model's: whether it has a chat template, and what that takes.

    Raises:
        ConfigError: if a chat is asked for without a template, or a package that the task needs is not installed.
        ModelError: if the chat template refuses such prompts.
        DataError: if problems for few-shot prompts cannot be loaded.
        SandboxError: if programs are to be judged, and there is no sandbox to be had here.
    """
    embedded = settings.task == "wordproblems"
    code = CodeSet(settings, seed) if settings.task == "code" else None
    split_of = code.of if code else partial(_generated if embedded else _gsm8k, settings, seed)
    asked = code.prompting() if code else {"template": wordproblems.PROMPT if embedded else GSM8K_PROMPT}
    chat = _is_chat(settings, tokenizer)
    prompting = Prompting(
        chat=chat,
        **{"instruction": GSM8K_INSTRUCTION, **asked},
        examples=list(islice(split_of("train"), settings.few_shot)) if settings.few_shot else (),
        system=settings.system_prompt,
        system_role=not settings.system_prompt or takes_system(tokenizer),
    )
    render(tokenizer, prompting.of(gsm8k.Problem("?", "", "")))  # what a template refuses, it refuses now
    if not prompting.system_role:
        message = (
            "spancredit: the model's chat template takes no system message; it stands at the head of the first user "
            "message."
        )
        warnings.warn(message, stacklevel=2)
    problems = partial(_asked, settings, split_of)
    if code:
        code.reward.open()  # what cannot be had here, it says now
        return Task(
            problems,
            code.reward,
            lambda _: None,
            prompting,
            code.reward.statuses,
            code.reward.of_shares(),
            {
                "execution": {"credit_func": execution_credit(code.reward, tokenizer)},
                "exchange": {"credit_func": execution_credit(code.reward, tokenizer, exchange=True)},
                "probe": {"probe_func": call_probes(code.reward, tokenizer)},
            },
        )
    if embedded:
        return Task(problems, wordproblems.reward, lambda text: wordproblems.final_answer(text) or None, prompting)
    return Task(problems, *_check(settings), prompting)


def _is_chat(settings: TaskSettings, tokenizer: PreTrainedTokenizerBase) -> bool:
    possible = tokenizer.chat_template is not None
    if settings.prompt_style == "chat" and not possible:
        raise ConfigError("prompt_style is 'chat', and the model has no chat template; expected 'plain'.")
    wanted = settings.prompt_style == "auto" and settings.task != "wordproblems"
    chat = settings.prompt_style == "chat" or (wanted and possible)
    if settings.system_prompt and not chat:
        raise ConfigError("system_prompt is set, and prompts are plain text; expected prompt_style 'chat'.")
    return chat


def _asked(
    settings: TaskSettings, split_of: Callable[[str], Iterable[Problem]], split: str, count: int | None
) -> Sequence[Problem]:
    """The first problems of a split that no prompt shows with its solution."""
    own = settings.train_problems if split == "train" else settings.held_out_problems
    most = count or own or (GENERATED[split] if settings.generates(split) else None)
    shown = settings.few_shot if split == "train" else 0
    return list(islice(split_of(split), shown, None if most is None else shown + most))


def _generated(settings: TaskSettings, seed: int, split: str) -> Iterator[Problem]:
    return wordproblems.problems(split, seed, settings.difficulty or "medium")


def _gsm8k(settings: TaskSettings, _: int, split: str) -> Sequence[Problem]:
    own = split == "held_out" and settings.held_out_dataset
    if split == "held_out" and not own and settings.dataset is not None and gsm8k.is_file(settings.dataset):
        raise ConfigError(
            f"dataset is one file, {settings.dataset!r}, which is the training set; expected held_out_dataset too, or "
            "a folder with train.jsonl and test.jsonl."
        )
    return gsm8k.load(split, own or settings.dataset)


def _check(settings: TaskSettings) -> tuple[Callable[..., list[float]], Callable[[str], Hashable | None]]:
    """What judges a completion, and what reads its answer."""
    if settings.answer_check == "strict":
        return numbers.reward, numbers.final_number
    from spancredit.tasks import math_verify

    math_verify.require()
    return math_verify.reward, math_verify.read
