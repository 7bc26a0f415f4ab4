"""Make the bundled policy: a small Llama with its tokenizer, trained on worked solutions of `wordproblems`.

    python tools/train_policy.py     # rewrites src/spancredit/policies/wordproblems; 27 minutes on one core

Training stops early on purpose: at 30 to 50 % greedy accuracy there is room for reinforcement learning to improve.
"""

import itertools
from pathlib import Path
from typing import Annotated, Any

import teaching
import typer
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from spancredit.tasks.wordproblems import Problem, problems, reward

POLICY = Path(__file__).parents[1] / "src" / "spancredit" / "policies" / "wordproblems"


def make_tokenizer(texts: list[str], *, lines: bool = False) -> PreTrainedTokenizerFast:
    """Byte-level BPE with single-digit tokens, so any text can be encoded and numbers are read digit by digit.

    Args:
        lines: Whether a line break is always a token of its own, so that code reads the same wherever it is cut.
    """
    tokenizer = Tokenizer(models.BPE())
    breaks = [pre_tokenizers.Split("\n", "isolated")] if lines else []
    digits = pre_tokenizers.Digits(individual_digits=True)
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*breaks, digits, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<pad>", "<eos>"]
    trainer = trainers.BpeTrainer(vocab_size=768, special_tokens=special, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", padding_side="left", model_max_length=512
    )


def make_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    return LlamaForCausalLM(config)


def schedule(steps: int) -> dict[str, Any]:
    """Of the learning rate: up, level, and down over the last quarter."""
    return {
        "learning_rate": 3e-3,
        "lr_scheduler_type": "warmup_stable_decay",
        "lr_scheduler_kwargs": {"num_decay_steps": steps // 4, "min_lr_ratio": 0.0},
        "warmup_steps": 50,
    }


def first(split: str, count: int, seed: int) -> list[Problem]:
    return list(itertools.islice(problems(split, seed=seed), count))


def main(
    output: Annotated[Path, typer.Option(help="Folder to write.")] = POLICY,
    steps: Annotated[int, typer.Option(help="Optimizer steps of 32 problems.")] = 1400,
    seed: int = 0,
) -> None:
    teaching.begin(seed)
    rows = [problem.row() for problem in first("train", steps * 32, seed=seed)]
    tokenizer = make_tokenizer([row["prompt"] + row["completion"] for row in rows[:5000]])
    policy = teaching.taught(make_model(tokenizer), tokenizer, rows, output, steps, seed=seed, **schedule(steps))
    facts = {"task": "wordproblems", "steps": steps, "seed": seed}
    teaching.save(policy, tokenizer, output, facts, first("held_out", 1000, seed=seed), reward, 160)


if __name__ == "__main__":
    typer.run(main)
