"""Recipes: every one loads as `spancredit train` loads it, and trains a tiny model of its family with credit."""

import json
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
import yaml
from tokenizers_for_tests import TOKENIZERS
from transformers import AutoModelForCausalLM, AutoTokenizer, Gemma3TextConfig, LlamaConfig, Qwen2Config

import spancredit as sc
from spancredit.commands import prepare
from spancredit.commands.checked import parse_checked
from spancredit.commands.train import train
from spancredit.report.lines import read_lines
from spancredit.tasks.settings import TaskSettings
from spancredit.tasks.task import load_task

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import recipe_cost

ROOT = Path(__file__).parents[1]
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
EMBEDDED = ROOT / "src" / "spancredit" / "recipes" / "wordproblems.yaml"
OWN = {  # what recipes may differ in; the rest is the same for all
    *("model_name_or_path", "dtype", "learning_rate", "per_device_train_batch_size", "gradient_accumulation_steps"),
    *("use_peft", "lora_r", "lora_alpha", "lora_dropout", "lora_target_modules", "credit_budget"),
}
DAPO = {
    "loss_type": "dapo",
    "epsilon": 0.2,
    "epsilon_high": 0.28,
    "beta": 0.0,
    "mask_truncated_completions": True,
    "scale_rewards": "group",
    "temperature": 1.0,
    "num_generations": 8,
}

SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
SIZES |= {"num_key_value_heads": 2, "max_position_embeddings": 512, "tie_word_embeddings": False}
GEMMA = {"head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 64, "layer_types": ["sliding_attention"] * 2}
QWEN = """{% for m in messages %}<|im_start|>{{ m.role }}
{{ m.content }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
LLAMA = """{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>

{{ m.content }}<|eot_id|>{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>

{% endif %}"""
TURNS = """{% for m in messages %}<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}
{{ m.content }}<end_of_turn>
{% endfor %}{% if add_generation_prompt %}<start_of_turn>model
{% endif %}"""
FAMILIES = {
    "qwen2.5": (Qwen2Config, {}, TOKENIZERS["qwen2"], QWEN),
    "llama-3.2": (LlamaConfig, {}, TOKENIZERS["llama3"], LLAMA),
    "gemma-3": (Gemma3TextConfig, GEMMA, TOKENIZERS["gemma"], TURNS),
}
SMALL = [
    *("--max_steps", "2", "--save_steps", "2", "--per_device_train_batch_size", "8", "--num_generations", "4"),
    *("--gradient_accumulation_steps", "2", "--max_completion_length", "32", "--overlong_cache", "8"),
    *("--held_out_steps", "0", "--held_out_problems", "2", "--learning_rate", "1e-3"),
]


def family(recipe):
    return next(name for name in FAMILIES if recipe.stem.startswith(name))


def teach(model, tokenizer, rows):
    """Until it says equations and answers by itself, some of them right."""
    examples = [
        (tokenizer.apply_chat_template(row["prompt"], tokenize=False, add_generation_prompt=True), row["solution"])
        for row in rows
    ]
    pairs = [[tokenizer.encode(text, add_special_tokens=False) for text in pair] for pair in examples]
    ids_BL = torch.nn.utils.rnn.pad_sequence(
        [torch.tensor([*prompt, *solution, tokenizer.eos_token_id]) for prompt, solution in pairs],
        batch_first=True,
        padding_value=-100,
    )
    labels_BL = ids_BL.clone()
    for label_L, (prompt, _) in zip(labels_BL, pairs, strict=True):
        label_L[: len(prompt)] = -100
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(150):
        model(input_ids=ids_BL.clamp(min=0), labels=labels_BL).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A tiny model of a family, made and taught once: a random one gives no answers that could be scored."""

    @cache
    def make(name, data):
        path = tmp_path_factory.mktemp(name)
        config, own, tokenizer_of, template = FAMILIES[name]
        tokenizer = tokenizer_of()
        ids = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(
            config(**SIZES, **own, **ids, bos_token_id=None, eos_token_id=tokenizer.eos_token_id)
        )
        tokenizer.save_pretrained(path)
        (path / "chat_template.jinja").write_text(template)
        tokenizer = AutoTokenizer.from_pretrained(path)
        teach(
            model, tokenizer, load_task(TaskSettings(task="gsm8k", dataset=str(data)), 0, tokenizer).rows("train")[:8]
        )
        model.save_pretrained(path)
        return path

    return make


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Problems of GSM8K's form, the first eight with answers of one digit."""
    path = tmp_path_factory.mktemp("data")
    rows = [
        {"question": f"Ann has {i} eggs and buys {i}.", "answer": f"{i}+{i} = <<{i}+{i}={2 * i}>>{2 * i}\n#### {2 * i}"}
        for i in range(1, 17)
    ]
    for split in ("train", "test"):
        (path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("recipe", [*RECIPES, EMBEDDED], ids=lambda path: path.stem)
def test_a_recipe_loads_as_the_command_loads_it(recipe):
    task, arguments, model = parse_checked(recipe, [])
    assert {name: getattr(arguments, name) for name in DAPO} == DAPO
    assert arguments.credit.mode == "counterfactual"
    if recipe == EMBEDDED:
        return
    assert task.task == "gsm8k"
    assert task.overlong_cache == 100
    assert arguments.dynamic_sampling_rounds > 0
    assert (arguments.bf16, arguments.gradient_checkpointing) == (True, True)
    assert arguments.generation_batch_size == 256
    assert model.use_peft == (model.dtype == "bfloat16"), "weights that are trained are kept in float32"


def test_recipes_differ_in_what_they_must_alone():
    settings = [yaml.safe_load(recipe.read_text()) for recipe in RECIPES]
    assert len(settings) == 7
    shared = [{key: value for key, value in one.items() if key not in OWN} for one in settings]
    assert all(one == shared[0] for one in shared)
    assert "use_cpu" not in shared[0]
    assert "use_vllm" not in shared[0]
    assert len({one["model_name_or_path"] for one in settings}) == 7


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_what_a_recipe_says_of_itself_is_so(recipe):
    text, cost = recipe.read_text(), recipe_cost.estimate(recipe)
    head = " ".join(line.lstrip("# ") for line in text.splitlines() if line.startswith("#"))
    assert f"spancredit train --config recipes/{recipe.name}" in head
    assert head.startswith(f"{yaml.safe_load(text)['model_name_or_path']} on GSM8K")
    assert f"a loss of {cost.loss} policy forwards of {cost.operations:.2f} PFLOP" in head
    assert f"credit of {cost.credit:.1f} at the least, if exact: {cost.share:.0%} of both" in head
    assert recipe_cost.row(recipe.name, cost) in (ROOT / "recipes" / "README.md").read_text()


def test_a_misspelt_setting_in_a_recipe_is_refused(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(RECIPES[0].read_text().replace("overlong_cache", "overlong_cash"))
    with pytest.raises(sc.ConfigError, match="unknown key 'overlong_cash'; did you mean 'overlong_cache'"):
        parse_checked(path, [])


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_trains_a_tiny_model_of_its_family_with_credit(recipe, taught, data, tmp_path, monkeypatch):
    model = taught(family(recipe), data)
    load = prepare.load_task

    def every_second_is_right(completions, **_):
        return [float(i % 2) for i in range(len(completions))]

    monkeypatch.setattr(prepare, "load_task", lambda *given: replace(load(*given), reward=every_second_is_right))
    given = ["--model_name_or_path", str(model), "--dataset", str(data), "--output_dir", str(tmp_path / "run")]
    folder = train(["--config", str(recipe), *given, *SMALL])
    rows = list(read_lines(folder.metrics))
    assert [row["step"] for row in rows] == [1, 2]
    for row in rows:
        assert row["credit/scored"] > 0
        assert abs(row["credit/drop/calculation"]) > 1e-3, "what was taken away mattered"
        assert row["grad_norm"] > 0
    records = list(read_lines(folder.records))
    weights = [weight for record in records for weight in record["token_weights"]]
    assert len({round(weight, 3) for weight in weights}) > 2, "tokens got weights of their own"
    assert (folder.path / "model").is_dir()
