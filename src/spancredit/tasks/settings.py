"""Which problems, asked how, judged by what: the settings of a task, and what does not go together."""

from dataclasses import dataclass, field
from typing import Any, Literal

from spancredit.errors import ConfigError, UnknownNameError
from spancredit.sandbox.levels import LEVELS
from spancredit.tasks import gsm8k, wordproblems
from spancredit.tasks.code import evalplus, functions
from spancredit.tasks.code.sets import SETS, sandbox_settings
from spancredit.tasks.prompts import STYLES, Style

TASKS = ("wordproblems", "gsm8k", "code")
BY_EXECUTION = ("execution", "exchange")  # no model is asked
OUTCOMES = ("answer", *BY_EXECUTION, "probe")
OF_GSM8K = ("held_out_dataset",)
OF_CODE = ("code_set", "sandbox_level", "sandbox_seconds", "sandbox_memory", "sandbox_processes")
FOREIGN = {
    "wordproblems": ("dataset", *OF_GSM8K, *OF_CODE),
    "gsm8k": ("difficulty", *OF_CODE),
    "code": OF_GSM8K,
}
CHECKS = ("strict", "math_verify")


def bundled_for(task: str) -> str:
    """The bundled policy that a task is trained from unless another is named."""
    return "bundled-code" if task == "code" else "bundled"


@dataclass
class TaskSettings:
    """Which problems, asked how, judged by what.

    Raises:
        ConfigError: if a count is too small, a name unknown, or a setting is not one of this task's.
    """

    task: Literal["wordproblems", "gsm8k", "code"] = field(
        default="wordproblems", metadata={"help": "`wordproblems`, the embedded task, `gsm8k` or `code`."}
    )
    difficulty: str | None = field(
        default=None,
        metadata={
            "help": f"Of wordproblems: {', '.join(wordproblems.DIFFICULTIES)}; of code's functions: "
            f"{', '.join(functions.DIFFICULTIES)}. Default: medium, but where a bundled policy's recipe has another."
        },
    )
    dataset: str | None = field(
        default=None,
        metadata={
            "help": "Of gsm8k: a name on the hub (default: openai/gsm8k), a folder with train.jsonl and test.jsonl, or "
            "the JSONL file of the training problems. Of code's mbpp and humaneval_plus: the folder of the files."
        },
    )
    held_out_dataset: str | None = field(
        default=None, metadata={"help": "Of gsm8k: the JSONL file of the held-out problems. Default: the test split."}
    )
    train_problems: int | None = field(
        default=None, metadata={"help": "Problems in the training set. Default: 4000 that are generated, all of gsm8k."}
    )
    held_out_problems: int | None = field(
        default=None, metadata={"help": "Problems for held-out accuracy, the first so many. Default: 500."}
    )
    prompt_style: Style = field(
        default="auto",
        metadata={
            "help": "`plain` text, `chat` by the model's template, or `auto`: chat for gsm8k and code if there is one."
        },
    )
    few_shot: int = field(
        default=0, metadata={"help": "The first training problems, shown with their solutions and not trained on."}
    )
    system_prompt: str | None = field(default=None, metadata={"help": "The system message of a chat."})
    answer_check: Literal["strict", "math_verify"] = field(
        default="strict",
        metadata={"help": "Of gsm8k: exact equality of the final number, or the package math-verify."},
    )

    code_set: str | None = field(
        default=None,
        metadata={
            "help": f"Of code: the held-out problems, {', '.join(SETS)}. Default: functions, of which all training "
            "problems are."
        },
    )
    sandbox_level: str | None = field(
        default=None,
        metadata={
            "help": f"Of code: {', '.join(LEVELS)}, or auto, the first of the first two that works (the default). none "
            "confines nothing."
        },
    )
    sandbox_seconds: float | None = field(
        default=None,
        metadata={"help": "Of code: processor time of a candidate. Default: 10, of mbpp and humaneval_plus 30."},
    )
    sandbox_memory: int | None = field(
        default=None, metadata={"help": "Of code: MiB of memory of a candidate. Default: 1024."}
    )
    sandbox_processes: int | None = field(
        default=None, metadata={"help": "Of code: candidates at a time. Default: one a core, at most 8."}
    )

    outcome: str | None = field(
        default=None,
        metadata={
            "help": "What a span's absence is measured on: `answer`, the log-probability of the answer in the "
            "completion; of code also `execution`, the share of tests that pass without the span, `exchange`, the "
            "share with what other completions of the problem have in its place, and `probe`, the log-probability of "
            "what a call of the function should return. Default: answer, of code execution."
        },
    )

    def __post_init__(self) -> None:
        for name, known in {"task": TASKS, "prompt_style": STYLES, "answer_check": CHECKS}.items():
            if getattr(self, name) not in known:
                raise UnknownNameError(name, getattr(self, name), known)
        difficulties = tuple(functions.DIFFICULTIES if self.task == "code" else wordproblems.DIFFICULTIES)
        if self.difficulty is not None and self.difficulty not in difficulties:
            raise UnknownNameError("difficulty", self.difficulty, difficulties)
        for name, least in {"train_problems": 1, "held_out_problems": 1, "few_shot": 0}.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"{name} is {value}; expected at least {least}.")
        for name in FOREIGN[self.task]:
            if getattr(self, name) is not None:
                raise ConfigError(f"{name} is {getattr(self, name)!r}, and no setting of the task {self.task}.")
        outcomes = OUTCOMES if self.task == "code" else OUTCOMES[:1]
        if self.outcome is not None and self.outcome not in outcomes:
            raise UnknownNameError(f"outcome of the task {self.task}", self.outcome, outcomes)
        if self.task != "gsm8k" and self.answer_check != "strict":
            raise ConfigError(f"answer_check is 'math_verify'; {self.task} has the strict check only.")
        if self.task == "code":
            self._check_code()

    def _check_code(self) -> None:
        if self.code_set is not None and self.code_set not in SETS:
            raise UnknownNameError("code_set", self.code_set, SETS)
        file = evalplus.FILES.get(self.code_set or "functions")
        if (self.dataset is None) != (file is None):
            expected = f"--dataset with the folder of {file}, of evalplus's release" if file else "none for this set"
            raise ConfigError(f"dataset is {self.dataset!r}, and code_set {self.code_set!r}; expected {expected}.")
        sandbox_settings(self)

    @property
    def measured_outcome(self) -> str:
        """What a span's absence is measured on."""
        return self.outcome or ("execution" if self.task == "code" else "answer")

    @property
    def in_words(self) -> str:
        """Which problems these are: the task with its difficulty, or the set of programs."""
        named: list[str] = [self.task] if self.task != "code" else [self.task, self.code_set or "functions"]
        if self.task == "wordproblems" or named[-1] == "functions":
            named.append(self.difficulty or "medium")
        return ", ".join(named)

    def generates(self, split: str) -> bool:
        """Whether the problems of a split are generated, and never end."""
        if self.task == "code":
            return split == "train" or self.code_set in (None, "functions")
        return self.task == "wordproblems"


def settings_of(split: str, dataset: str | None = None, few_shot: int = 0, **others: Any) -> TaskSettings:
    """Settings for problems of one split, where a dataset of one JSONL file is that split.

    Raises:
        ConfigError: if there is no such split, if worked examples are asked for and only one file is there, or what
            `TaskSettings` raises.
    """
    if split not in gsm8k.SPLITS:
        raise UnknownNameError("split", split, gsm8k.SPLITS)
    code = others.get("task") == "code"
    if code and split == "train" and others.get("code_set") not in (None, "functions"):
        raise ConfigError(f"split is 'train', and code_set {others['code_set']!r}, a benchmark; expected functions.")
    one_file = dataset is not None and not code and gsm8k.is_file(dataset)
    if few_shot and one_file:
        raise ConfigError(f"--few_shot is {few_shot}, and --dataset one file; expected a folder with train.jsonl too.")
    held_out = dataset if one_file and split == "held_out" else None
    return TaskSettings(**others, dataset=None if held_out else dataset, held_out_dataset=held_out, few_shot=few_shot)
