"""Which problems, asked how, judged by what: the settings of a task, and what does not go together."""

from dataclasses import dataclass, field
from typing import Any, Literal

from spancredit.errors import ConfigError, UnknownNameError
from spancredit.tasks import gsm8k, wordproblems
from spancredit.tasks.prompts import STYLES, Style

TASKS = ("wordproblems", "gsm8k")
CHECKS = ("strict", "math_verify")


@dataclass
class TaskSettings:
    """Which problems, asked how, judged by what.

    Raises:
        ConfigError: if a count is too small, a name unknown, or a setting is not one of this task's.
    """

    task: Literal["wordproblems", "gsm8k"] = field(
        default="wordproblems", metadata={"help": "`wordproblems`, the embedded task, or `gsm8k`."}
    )
    difficulty: str | None = field(
        default=None,
        metadata={"help": f"Of wordproblems: {', '.join(wordproblems.DIFFICULTIES)}. Default: medium."},
    )
    dataset: str | None = field(
        default=None,
        metadata={
            "help": "Of gsm8k: a name on the hub (default: openai/gsm8k), a folder with train.jsonl and test.jsonl, or "
            "the JSONL file of the training problems."
        },
    )
    held_out_dataset: str | None = field(
        default=None, metadata={"help": "Of gsm8k: the JSONL file of the held-out problems. Default: the test split."}
    )
    train_problems: int | None = field(
        default=None, metadata={"help": "Problems in the training set. Default: 4000 of wordproblems, all of gsm8k."}
    )
    held_out_problems: int | None = field(
        default=None, metadata={"help": "Problems for held-out accuracy, the first so many. Default: 500."}
    )
    prompt_style: Style = field(
        default="auto",
        metadata={"help": "`plain` text, `chat` by the model's template, or `auto`: chat for gsm8k if there is one."},
    )
    few_shot: int = field(
        default=0, metadata={"help": "The first training problems, shown with their solutions and not trained on."}
    )
    system_prompt: str | None = field(default=None, metadata={"help": "The system message of a chat."})
    answer_check: Literal["strict", "math_verify"] = field(
        default="strict",
        metadata={"help": "Of gsm8k: exact equality of the final number, or the package math-verify."},
    )

    def __post_init__(self) -> None:
        for name, known in {"task": TASKS, "prompt_style": STYLES, "answer_check": CHECKS}.items():
            if getattr(self, name) not in known:
                raise UnknownNameError(name, getattr(self, name), known)
        if self.difficulty is not None and self.difficulty not in wordproblems.DIFFICULTIES:
            raise UnknownNameError("difficulty", self.difficulty, wordproblems.DIFFICULTIES)
        for name, least in {"train_problems": 1, "held_out_problems": 1, "few_shot": 0}.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"{name} is {value}; expected at least {least}.")
        foreign = ("difficulty",) if self.task == "gsm8k" else ("dataset", "held_out_dataset")
        for name in foreign:
            if getattr(self, name) is not None:
                raise ConfigError(f"{name} is {getattr(self, name)!r}, and no setting of the task {self.task}.")
        if self.task == "wordproblems" and self.answer_check != "strict":
            raise ConfigError("answer_check is 'math_verify'; wordproblems has the strict check only.")


def settings_of(split: str, dataset: str | None = None, few_shot: int = 0, **others: Any) -> TaskSettings:
    """Settings for problems of one split, where a dataset of one JSONL file is that split.

    Raises:
        ConfigError: if there is no such split, if worked examples are asked for and only one file is there, or what
            `TaskSettings` raises.
    """
    if split not in gsm8k.SPLITS:
        raise UnknownNameError("split", split, gsm8k.SPLITS)
    one_file = dataset is not None and gsm8k.is_file(dataset)
    if few_shot and one_file:
        raise ConfigError(f"--few_shot is {few_shot}, and --dataset one file; expected a folder with train.jsonl too.")
    held_out = dataset if one_file and split == "held_out" else None
    return TaskSettings(**others, dataset=None if held_out else dataset, held_out_dataset=held_out, few_shot=few_shot)
