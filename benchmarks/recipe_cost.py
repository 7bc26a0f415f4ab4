"""What a step of each recipe has to compute, counted from the shapes of the models: no weights, no timing.

    python benchmarks/recipe_cost.py

Prompts, completions and spans are assumptions, and flags. A policy forward is one padded forward over the batch with
logits for every completion token; the least that credit needs is counted as `spancredit bench` counts its floors.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, Gemma3TextConfig, LlamaConfig, Qwen2Config

from spancredit.bench.floor import policy_need
from spancredit.bench.models import prices_of
from spancredit.bench.price import price
from spancredit.bench.work import Sizes, random_work
from spancredit.commands.train import parse_checked
from spancredit.config import CreditConfig

RECIPES = Path(__file__).parents[1] / "recipes"
NAMES = ("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim")
NAMES += ("intermediate_size", "vocab_size")
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


def row(recipe: Path, prompt: int, completion: int, spans: int) -> str:
    """One line of a Markdown table."""
    _, arguments, model = parse_checked(recipe, [])
    rollouts, group = arguments.generation_batch_size, arguments.num_generations
    prices = prices_of(model_of(recipe.stem))
    work = random_work(Sizes(prompt, completion, spans, group, group), 1000, 0, seed=0)
    forward, credit = price(policy_need(work.items), prices), price(work.need(CreditConfig()), prices)
    ratio, loss = credit / forward, FORWARDS[model.use_peft]
    operations = 2 * forward * rollouts / group  # a multiply-add is two
    cells = [
        f"{rollouts * completion / 1000:.0f} k",
        f"{rollouts * (prompt + completion) / 1000:.0f} k",
        f"{operations / 1e15:.2f}",
        f"{loss}",
        f"{ratio:.1f}",
        f"{ratio / (ratio + loss):.0%}",
    ]
    return f"| `{recipe.name}` | " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompt", type=int, default=150, help="tokens")
    parser.add_argument("--completion", type=int, default=200, help="tokens")
    parser.add_argument("--spans", type=int, default=12, help="of a completion")
    given = parser.parse_args()
    print("| recipe | tokens generated | tokens trained | policy forward, PFLOP | loss | credit | share |")
    print("|---" * 7 + "|")
    for recipe in sorted(RECIPES.glob("*.yaml")):
        print(row(recipe, given.prompt, given.completion, given.spans))


if __name__ == "__main__":
    main()
