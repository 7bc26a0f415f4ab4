"""What `spancredit explain` explains: a prompt with its completion, given, sampled, or a problem's own solution."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from spancredit.config import CreditConfig
from spancredit.credit import assign_credit
from spancredit.errors import ConfigError, RolloutError
from spancredit.evaluation.generate import SAMPLING, first_of, generated
from spancredit.models import load_policy, ready
from spancredit.randomness import seeded
from spancredit.report.explainprogress import ExplainProgress
from spancredit.report.records import make_record
from spancredit.tasks.chat import render
from spancredit.tasks.prompts import Prompt
from spancredit.tasks.settings import TaskSettings
from spancredit.tasks.task import Task, load_task
from spancredit.text.align import align
from spancredit.training.functions import credited
from spancredit.types import Rollout


@dataclass(frozen=True)
class Request:
    """What is to be explained, and how.

    Args:
        prompt: A prompt of the user's own; None: a problem of the task in `settings`.
        completion: Its completion; None: sampled.
        problem: Number of the task's problem in its split, from 0.
        gold: Whether the problem's own solution is the completion.
        model: What `load_policy` takes.
    """

    prompt: str | None
    completion: str | None
    settings: TaskSettings
    split: str
    problem: int
    gold: bool
    model: str
    dtype: str
    config: CreditConfig
    max_new_tokens: int
    seed: int

    def __post_init__(self) -> None:
        if self.prompt == "":
            raise RolloutError("the prompt is empty; expected the text that the completion answers.")
        if self.completion == "":
            raise RolloutError("the completion is empty; expected its text, or none to have one sampled.")
        if self.problem < 0:
            raise ConfigError(f"--problem is {self.problem}; expected at least 0.")
        if self.max_new_tokens < 1:
            raise ConfigError(f"--max_new_tokens is {self.max_new_tokens}; expected at least 1.")


def explained(request: Request, progress: ExplainProgress) -> dict[str, Any]:
    """The record of one rollout; a completion is sampled at the temperature of the configuration.

    Raises:
        ModelError: if the model cannot be loaded or lacks what the configuration needs.
        DataError: if the task's problems cannot be loaded.
        ConfigError: if there is no such problem, or a chat is asked for and the model has no template.
    """
    with progress.step(f"loading {request.model}"):
        model, tokenizer = ready(*load_policy(request.model, dtype=request.dtype))
    subject = _subject(request, tokenizer)
    prompt = _prompt_ids(tokenizer, subject.prompt)
    text = subject.gold if request.gold else request.completion
    reward = None
    if text is not None:
        completion = tokenizer(text, add_special_tokens=False)["input_ids"]
    else:
        with progress.step("sampling", model, "token"):
            completion = _sample(model, tokenizer, prompt, subject.stops, request)
        if subject.judge is not None:
            reward = subject.judge(tokenizer.decode(completion, skip_special_tokens=True))
    rollout = Rollout(prompt, completion, advantage=-1.0 if reward == 0 else None)  # blame goes by it
    with progress.step("scoring", model, "forward"):
        (rollout,), (credit,) = credited(
            [rollout],
            [subject.row],
            request.config,
            lambda some: assign_credit(model, tokenizer, some, request.config),
            subject.probe_func,
            subject.credit_func,
        )
    return make_record(rollout, credit, tokenizer, step=0, reward=reward, right=None if reward is None else reward == 1)


@dataclass(frozen=True)
class Subject:
    """A prompt, and what a task knows about it.

    Args:
        gold: The problem's own solution, as a completion.
        judge: The reward of a completion's text.
        stops: Texts at the first of which a sampled completion ends.
        row: The problem's, as a trainer's dataset has it.
        credit_func, probe_func: As a trainer takes them.
    """

    prompt: Prompt
    gold: str | None = None
    judge: Callable[[str], float] | None = None
    stops: tuple[str, ...] = ()
    row: dict[str, Any] = field(default_factory=dict)
    credit_func: Callable[..., Any] | None = None
    probe_func: Callable[..., Any] | None = None


def _subject(request: Request, tokenizer: PreTrainedTokenizerBase) -> Subject:
    task = load_task(request.settings, request.seed, tokenizer)
    if request.prompt is not None:
        chat = request.settings.prompt_style == "chat"
        return Subject([{"role": "user", "content": request.prompt}] if chat else request.prompt)
    problems = task.problems(request.split, request.problem + 1)
    if len(problems) <= request.problem:
        raise ConfigError(
            f"--problem is {request.problem}; expected less than {len(problems)}, the problems of the split."
        )
    return _of_problem(task, problems[request.problem], request.settings.measured_outcome)


def _of_problem(task: Task, problem: Any, outcome: str) -> Subject:
    return Subject(
        task.prompting.of(problem),
        task.prompting.worked(problem),
        lambda text: task.reward(completions=[text], answer=[str(problem.answer)])[0],
        task.prompting.stops,
        problem.row(),
        **task.functions.get(outcome, {}),
    )


def _prompt_ids(tokenizer: PreTrainedTokenizerBase, prompt: Prompt) -> list[int]:
    """A text with the special tokens that the tokenizer adds, or messages with those of its chat template.

    A text that begins with them already, as prompts in records do, is left as it is.
    """
    if isinstance(prompt, str):
        begun = tokenizer.bos_token is not None and prompt.startswith(tokenizer.bos_token)
        return list(tokenizer(prompt, add_special_tokens=not begun)["input_ids"])
    return list(tokenizer(render(tokenizer, prompt), add_special_tokens=False)["input_ids"])


def _sample(
    model: Any, tokenizer: PreTrainedTokenizerBase, prompt: list[int], stops: tuple[str, ...], request: Request
) -> list[int]:
    """One completion, without the first stop text and what follows it."""
    ids_BL = torch.tensor([prompt], device=model.device)
    sampling = {**SAMPLING, "temperature": request.config.temperature}
    with seeded(model.device, request.seed):
        (completion,) = generated(
            model, tokenizer, ids_BL, torch.ones_like(ids_BL), request.max_new_tokens, stops, **sampling
        )
    aligned = align(tokenizer, completion)
    end = first_of(stops, aligned.text)
    return completion if end == len(aligned.text) else completion[: aligned.tokens_of(end, len(aligned.text))[0]]
