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

from spancredit.training.config import CreditGRPOConfig

PAPER = "https://arxiv.org/abs/2602.09331"
PACKAGES = ("spancredit", "trl", "transformers", "torch", "datasets", "tokenizers")
# TRL's arguments that decide what a step is.
TRAINING = (
    *("loss_type", "learning_rate", "beta", "epsilon", "epsilon_high", "num_generations", "num_iterations"),
    *("generation_batch_size", "max_completion_length", "temperature", "step_advantages", "dynamic_sampling_rounds"),
    "seed",
)
PACKAGE = Path(__file__).parents[1]
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


def write_card(trainer: Trainer, folder: Path, about: Sequence[str] = ()) -> None:
    """Write `README.md`, with the tags and links of the card that TRL has just written into its output folder.

    Args:
        trainer: A `CreditGRPOTrainer`, whose `create_model_card` was called.
        folder: Where the card goes.
        about: Sentences on what it was trained on, and how well it does.
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
    text = card_text(str(data.model_name or folder.name), base, trainer.args, trainer.state.global_step, about, badges)
    (folder / "README.md").write_text(f"---\n{own.to_yaml()}\n---\n\n{text}", encoding="utf-8")


def base_model(model: Any) -> tuple[str, bool]:
    """What the weights began as, and whether that is a name on the hub. Of a path only its last part."""
    if is_peft_model(model):
        name = str(model.peft_config[model.active_adapter].base_model_name_or_path or "")
    else:
        name = str(getattr(model.config, "_name_or_path", "") or "")
    if not name:
        return "weights that had no name", False
    path = Path(name)
    if path.is_relative_to(PACKAGE):
        return "bundled", False
    if path.exists() or path.is_absolute():
        return path.name, False
    return name, not name.endswith(".gguf")


def card_text(
    name: str,
    base: str,
    arguments: CreditGRPOConfig,
    step: int,
    about: Sequence[str] = (),
    badges: Sequence[str] = (),
) -> str:
    """The card below its head, in markdown."""
    credit = arguments.credit
    given = {name: value for name, value in asdict(credit).items() if name != "temperature"}
    trained = {name: getattr(arguments, name) for name in TRAINING}
    versions = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    parts = [
        f"# {name}",
        f"Trained from `{base}` for {step} steps of GRPO, with {credit.mode} credit for the spans of its completions, "
        "by spancredit on TRL.",
        *about,
        *badges,
        "## Credit",
        _table(given),
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
