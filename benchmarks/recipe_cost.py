"""What a step of each recipe has to compute, counted from the shapes of the models: no weights, no timing.

    python benchmarks/recipe_cost.py

The sizes of prompts and completions are assumptions, and flags. A policy forward is one padded forward over the batch
with logits for every completion token; the least that credit needs is counted as `spancredit bench` counts its floors.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, Gemma3TextConfig, LlamaConfig, Qwen2Config

from spancredit.bench.floor import policy_need
from spancredit.bench.models import prices_of
from spancredit.bench.price import price
from spancredit.bench.work import Sizes, random_work
from spancredit.commands.checked import parse_checked
from spancredit.config import CreditConfig

PROMPT, COMPLETION, SPANS = 120, 200, 9  # spans as dense as in GSM8K's own solutions, 5.5 in 120 tokens
RECIPES = Path(__file__).parents[1] / "recipes"
NAMES = (
    *("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim"),
    *("intermediate_size", "vocab_size"),
)
SHAPES = {
    "qwen2.5-0.5b": (Qwen2Config, (896, 24, 14, 2, 64, 4864, 151936)),
    "qwen2.5-1.5b": (Qwen2Config, (1536, 28, 12, 2, 128, 8960, 151936)),
    "qwen2.5-3b": (Qwen2Config, (2048, 36, 16, 2, 128, 11008, 151936)),
    "llama-3.2-1b": (LlamaConfig, (2048, 16, 32, 8, 64, 8192, 128256)),
    "llama-3.2-3b": (LlamaConfig, (3072, 28, 24, 8, 128, 8192, 128256)),
    "gemma-3-270m": (Gemma3TextConfig, (640, 18, 4, 1, 256, 2048, 262144)),
    "gemma-3-1b": (Gemma3TextConfig, (1152, 26, 4, 1, 256, 6912, 262144)),
}
FORWARDS = {False: 4, True: 3}  # of loss and backward with gradient checkpointing; with LoRA no gradient of weights


def model_of(name: str) -> Any:
    """Its architecture, without weights."""
    family, sizes = SHAPES[name]
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(
            family(**dict(zip(NAMES, sizes, strict=True)), tie_word_embeddings=True)
        )


@dataclass(frozen=True)
class Estimate:
    """Of one step.

    Args:
        generated: Tokens of one draw of completions; dynamic sampling draws up to as many again in each round.
        trained: Tokens of the loss with their prompts.
        scored: Tokens that credit forwards, at the least.
        operations: Of one policy forward, in 10^15.
        loss: Policy forwards that the loss and its backward are worth.
        credit: Policy forwards that exact credit is worth, at the least.
    """

    generated: int
    trained: int
    scored: int
    operations: float
    loss: int
    credit: float

    @property
    def share(self) -> float:
        """Of credit in what it takes with the loss, generation not counted."""
        return self.credit / (self.credit + self.loss)


def estimate(recipe: Path, prompt: int = PROMPT, completion: int = COMPLETION, spans: int = SPANS) -> Estimate:
    """Sizes in tokens; spans of one completion."""
    _, arguments, model = parse_checked(recipe, [])
    group = arguments.num_generations
    groups = arguments.generation_batch_size // group
    work = random_work(Sizes(prompt, completion, spans, group, group), 1000, 0, seed=0)
    prices, need = prices_of(model_of(recipe.stem)), work.need(CreditConfig())
    forward = price(policy_need(work.items), prices)
    return Estimate(
        generated=groups * group * completion,
        trained=groups * group * (prompt + completion),
        scored=groups * need.tokens,
        operations=2 * groups * forward / 1e15,  # a multiply-add is two
        loss=FORWARDS[model.use_peft],
        credit=price(need, prices) / forward,
    )


def row(name: str, one: Estimate) -> str:
    """One line of a Markdown table."""
    tokens = [f"{count / 1000:.0f} k" for count in (one.generated, one.trained, one.scored)]
    return (
        f"| `{name}` | {' | '.join(tokens)} | {one.operations:.2f} | {one.loss} | {one.credit:.1f} | {one.share:.0%} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompt", type=int, default=PROMPT, help="tokens")
    parser.add_argument("--completion", type=int, default=COMPLETION, help="tokens")
    parser.add_argument("--spans", type=int, default=SPANS, help="of a completion")
    sizes = vars(parser.parse_args())
    print("| recipe | generated | trained | scored | forward, PFLOP | loss | credit | share |")
    print("|---" * 8 + "|")
    for recipe in sorted(RECIPES.glob("*.yaml")):
        print(row(recipe.name, estimate(recipe, **sizes)))


if __name__ == "__main__":
    main()
