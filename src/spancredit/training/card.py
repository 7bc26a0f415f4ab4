"""The model card beside trained weights: what they came from, how credit was given, and what to cite."""

import re
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from accelerate.utils import is_peft_model
from huggingface_hub import ModelCard, ModelCardData
from transformers import Trainer

from spancredit.config import CreditConfig
from spancredit.counterfactual.measure import PROXIES
from spancredit.crediting import EXECUTION
from spancredit.models import BUNDLED_FOLDERS, without_folders
from spancredit.training.config import CreditGRPOConfig
from spancredit.training.functions import OF_FORWARDS

PAPER = "https://arxiv.org/abs/2602.09331"
PACKAGES = ("spancredit", "trl", "transformers", "torch", "datasets", "tokenizers")
# TRL's arguments that decide what a step is.
TRAINING = (
    *("loss_type", "learning_rate", "beta", "epsilon", "epsilon_high", "num_generations", "num_iterations"),
    *("generation_batch_size", "max_completion_length", "temperature", "step_advantages", "dynamic_sampling_rounds"),
    "seed",
)
TAGS = ("spancredit", "credit-assignment")
BADGE = re.compile(r"^\[<img .*$", re.MULTILINE)  # TRL's links to the run on a tracker
CITATIONS = """```bibtex
@article{khandoga2026beyond,
  title  = {Beyond Uniform Credit: Causal Credit Assignment for Policy Optimization},
  author = {Mykola Khandoga and Rui Yuan and Vinay Kumar Sankarapu},
  eprint = {arXiv:2602.09331},
  year   = {2026}
}

@article{shao2024deepseekmath,
  title  = {DeepSeekMath: Pushing the Limits of Mathematical Reasoning in Open Language Models},
  author = {Zhihong Shao and others},
  eprint = {arXiv:2402.03300},
  year   = {2024}
}

@software{vonwerra2020trl,
  title  = {TRL: Transformers Reinforcement Learning},
  author = {Leandro von Werra and others},
  url    = {https://github.com/huggingface/trl},
  year   = {2020}
}
```"""


def write_card(trainer: Trainer, folder: Path, about: Sequence[str] = (), outcome: str | None = None) -> None:
    """Write `README.md`, with the tags and links of the card that TRL has just written into its output folder.

    Args:
        trainer: A `CreditGRPOTrainer`, whose `create_model_card` was called.
        folder: Where the card goes.
        about: Sentences on what it was trained on, and how well it does.
        outcome: What a span's absence was measured on, by its name; None: as the trainer's own functions say.
    """
    theirs = ModelCard.load(Path(trainer.args.output_dir) / "README.md")
    data: Any = theirs.data
    base, on_hub = base_model(trainer.model)
    own = ModelCardData(
        base_model=base if on_hub else None,
        datasets=data.datasets,
        library_name="peft" if is_peft_model(trainer.model) else "transformers",
        model_name=data.model_name,
        tags=sorted({*data.tags, *TAGS}),
    )
    badges = BADGE.findall(theirs.content)
    text = card_text(
        str(data.model_name or folder.name),
        base,
        trainer.args,
        trainer.state.global_step,
        outcome or outcome_of(trainer),
        about,
        badges,
    )
    (folder / "README.md").write_text(f"---\n{own.to_yaml()}\n---\n\n{text}", encoding="utf-8")


def base_model(model: Any) -> tuple[str, bool]:
    """What the weights began as, and whether that is a name on the hub. Of a path only its last part."""
    if is_peft_model(model):
        name = str(model.peft_config[model.active_adapter].base_model_name_or_path or "")
    else:
        name = str(getattr(model.config, "_name_or_path", "") or "")
    if not name:
        return "weights that had no name", False
    bundled = next((own for own, folder in BUNDLED_FOLDERS.items() if Path(name) == Path(folder)), None)
    if bundled is not None:
        return bundled, False
    shown = without_folders(name)
    return shown, shown == name and not name.endswith(".gguf") and not Path(name).exists()


def outcome_of(trainer: Any) -> str:
    """What a trainer of somebody's script measures a span's absence on."""
    for name in ("credit_func", "probe_func"):
        if getattr(trainer, f"_{name}") is not None:
            return f"own {name}"
    return "answer"


def settings_read(credit: CreditConfig, outcome: str) -> dict[str, Any]:
    """The outcome, and of the credit settings those that had a part in the weights."""
    if credit.mode == "uniform":
        return {"mode": credit.mode}
    unread = {"temperature"}  # of the trainer's
    if outcome in (*EXECUTION, "own credit_func"):
        unread.update(OF_FORWARDS)
    if outcome in EXECUTION:
        unread.update(("segmenter", "window_tokens"))  # spans are statements
    if credit.scorer in PROXIES:
        unread.update(("horizon", "budget", "noise_floor", "full_scale"))
        unread.update(() if credit.scorer == "gradient" else ("intervention", "filler"))
    if credit.mode != "random":
        unread.add("seed")
    if credit.intervention != "filler":
        unread.add("filler")
    if credit.segmenter != "window":
        unread.add("window_tokens")
    return {"outcome": outcome, **{name: value for name, value in asdict(credit).items() if name not in unread}}


def card_text(
    name: str,
    base: str,
    arguments: CreditGRPOConfig,
    step: int,
    outcome: str,
    about: Sequence[str] = (),
    badges: Sequence[str] = (),
) -> str:
    """The card below its head, in markdown."""
    credit = arguments.credit
    trained = {name: getattr(arguments, name) for name in TRAINING}
    versions = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    parts = [
        f"# {name}",
        f"Trained from `{base}` for {step} steps of GRPO, with {credit.mode} credit for the spans of its completions, "
        "by spancredit on TRL.",
        *about,
        *badges,
        "## Credit",
        _table(settings_read(credit, outcome)),
        "## Training",
        _table(trained),
        f"Versions: {versions}.",
        "## Citation",
        f"Credit for spans is the method of [Beyond Uniform Credit]({PAPER}); the trainer is TRL's.",
        CITATIONS,
    ]
    return "\n\n".join(parts) + "\n"


def _table(settings: dict[str, Any]) -> str:
    rows = [f"| `{name}` | `{str(value).replace('|', chr(92) + '|')}` |" for name, value in settings.items()]
    return "\n".join(["| setting | value |", "|---|---|", *rows])
