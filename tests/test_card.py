"""The model card: what the weights came from, how credit was given; where TRL says it, and in the saved folder."""

import json
import shutil
from itertools import islice
from pathlib import Path

import pytest
from datasets import Dataset
from huggingface_hub import ModelCard
from test_untrusted_checkpoints import SMALL
from toy_models import TRAINER
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

import spancredit as sc
from spancredit.commands.train import train
from spancredit.models import BUNDLED_FOLDERS, load_policy, without_folders
from spancredit.tasks.wordproblems import problems
from spancredit.training.card import base_model, settings_read
from spancredit.training.trl import CreditGRPOConfig, CreditGRPOTrainer


def trainer_of(model, folder: Path, functions=None, **settings) -> CreditGRPOTrainer:
    tokenizer = AutoTokenizer.from_pretrained(BUNDLED_FOLDERS["bundled"])
    rows = Dataset.from_list([problem.row() for problem in islice(problems("train", 0, "easy"), 8)])
    config = CreditGRPOConfig(
        output_dir=str(folder), num_generations=4, per_device_train_batch_size=4, **settings, **TRAINER
    )
    return CreditGRPOTrainer(
        model,
        lambda completions, **_: [0.0] * len(completions),
        config,
        train_dataset=rows,
        processing_class=tokenizer,
        **(functions or {}),
    )


def settings_in(card: ModelCard) -> dict[str, str]:
    rows = [line.split("`") for line in card.content.splitlines() if line.startswith("| `")]
    return {cells[1]: cells[3] for cells in rows}


def test_a_bundled_policy_is_called_by_its_name():
    for name, folder in BUNDLED_FOLDERS.items():
        model = LlamaForCausalLM(LlamaConfig.from_pretrained(folder))
        model.config._name_or_path = str(folder)
        assert base_model(model) == (name, False)


def test_a_trainers_card_names_base_credit_seed_and_paper(tmp_path):
    model = LlamaForCausalLM(LlamaConfig.from_pretrained(BUNDLED_FOLDERS["bundled"]))
    model.config._name_or_path = "own/base"
    settings = {"credit_mode": "inverted", "credit_boost": 3.5, "credit_answer_pattern": "a|b", "seed": 7}
    trainer = trainer_of(model, tmp_path / "my-run", **settings)
    trainer.create_model_card(model_name="my-run", tags="mine")
    card = ModelCard.load(tmp_path / "my-run" / "README.md")
    assert card.data.base_model == "own/base"
    assert card.data.library_name == "transformers"
    assert {"spancredit", "trl", "grpo", "mine"} <= set(card.data.tags)
    said = settings_in(card)
    assert (said["mode"], said["boost"], said["seed"]) == ("inverted", "3.5", "7")
    assert said["answer_pattern"] == r"a\|b"
    assert (said["outcome"], said["intervention"]) == ("answer", "pad")
    assert not said.keys() & {"filler", "window_tokens"}, "what was not read is not said"
    assert "arXiv:2602.09331" in card.content
    assert "Trained from `own/base` for 0 steps of GRPO, with inverted credit" in card.content
    assert "None" not in card.text.partition("## Credit")[0]


@pytest.mark.parametrize("name", ["credit_func", "probe_func"])
def test_a_function_of_ones_own_is_the_outcome(name, tmp_path):
    model, _ = load_policy("bundled")
    trainer_of(model, tmp_path, {name: lambda rollouts, *_: [None] * len(rollouts)}).create_model_card(model_name="x")
    said = settings_in(ModelCard.load(tmp_path / "README.md"))
    assert said["outcome"] == f"own {name}"
    assert ("intervention" in said, "scorer" in said, "segmenter" in said) == (*[name == "probe_func"] * 2, True)


@pytest.mark.parametrize(
    ("settings", "outcome", "there", "not_there"),
    [
        ({}, "answer", {"intervention", "noise_floor", "answer_weight"}, {"filler", "seed", "window_tokens"}),
        ({"intervention": "filler"}, "answer", {"filler"}, {"seed"}),
        ({"segmenter": "window"}, "answer", {"window_tokens"}, {"filler"}),
        ({"mode": "random"}, "execution", {"seed", "boost", "max_spans"}, {"intervention", "scorer", "segmenter"}),
        ({}, "exchange", {"boost", "min_weight", "conserve"}, {"intervention", "noise_floor", "answer_weight"}),
        ({}, "probe", {"intervention", "noise_floor"}, {"seed"}),
        ({"scorer": "surprisal"}, "answer", {"answer_weight"}, {"intervention", "noise_floor", "full_scale"}),
        ({"scorer": "gradient"}, "answer", {"intervention"}, {"noise_floor"}),
        ({"mode": "uniform"}, "execution", set(), {"outcome", "boost", "intervention", "seed"}),
    ],
)
def test_settings_that_were_not_read_are_not_on_the_card(settings, outcome, there, not_there):
    said = settings_read(sc.CreditConfig(**settings), outcome)
    assert there <= said.keys()
    assert not not_there & said.keys()
    assert said["mode"] == settings.get("mode", "counterfactual")
    assert said.get("outcome") == (None if settings.get("mode") == "uniform" else outcome)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("/home/me/secret/gsm8k", "gsm8k"),
        ("./secret/gsm8k", "gsm8k"),
        ("../../secret/gsm8k/", "gsm8k"),
        ("~/secret/train.jsonl", "train.jsonl"),
        ("my/secret/gsm8k", "gsm8k"),
        ("openai/gsm8k", "openai/gsm8k"),
        ("gsm8k", "gsm8k"),
    ],
)
def test_of_a_path_the_last_part_is_shown(name, shown):
    assert without_folders(name) == shown


def test_links_to_a_tracker_stay(tmp_path, monkeypatch):
    monkeypatch.setattr("trl.trainer.base_trainer.get_trackio_space_url", lambda: "https://tracker.test/run")
    model, _ = load_policy("bundled")
    trainer_of(model, tmp_path).create_model_card(model_name="x")
    text = (tmp_path / "README.md").read_text()
    assert "](https://tracker.test/run)" in text


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("own/base", ("own/base", True)),
        ("own/base/weights.gguf", ("own/base/weights.gguf", False)),
        ("/home/somebody/secret/my-model", ("my-model", False)),
        (str(BUNDLED_FOLDERS["bundled"]), ("bundled", False)),
        ("", ("weights that had no name", False)),
    ],
)
def test_a_path_is_named_by_its_last_part_and_is_no_name_on_the_hub(name, expected):
    model = LlamaForCausalLM(LlamaConfig.from_pretrained(BUNDLED_FOLDERS["bundled"]))
    model.config._name_or_path = name
    assert base_model(model) == expected


def test_a_folder_that_is_there_is_no_name_on_the_hub(tmp_path, monkeypatch):
    (tmp_path / "own" / "base").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    model = LlamaForCausalLM(LlamaConfig.from_pretrained(BUNDLED_FOLDERS["bundled"]))
    model.config._name_or_path = "own/base"
    assert base_model(model) == ("base", False)


def test_an_adapter_names_what_it_lies_over(tmp_path):
    peft = pytest.importorskip("peft")
    model = LlamaForCausalLM(LlamaConfig.from_pretrained(BUNDLED_FOLDERS["bundled"]))
    model.name_or_path = model.config._name_or_path = "own/base"
    adapter = peft.get_peft_model(model, peft.LoraConfig(target_modules=["q_proj"], task_type="CAUSAL_LM"))
    assert base_model(adapter) == ("own/base", True)
    trainer_of(adapter, tmp_path).create_model_card(model_name="x")
    assert ModelCard.load(tmp_path / "README.md").data.library_name == "peft"


@pytest.mark.slow
def test_a_dataset_is_named_without_its_folders(tmp_path):
    problem = {"question": "Ann has 3 eggs and buys 4.", "answer": "3+4 = <<3+4=7>>7\n#### 7"}
    data = tmp_path / "secret" / "own-gsm8k"
    data.mkdir(parents=True)
    for split in ("train", "test"):
        rows = [problem | {"question": f"{problem['question']} Day {day}."} for day in range(16)]
        (data / f"{split}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    given = [*SMALL[: SMALL.index("--difficulty")], "--held_out_steps", "0", "--max_steps", "1"]
    asked = ["--task", "gsm8k", "--dataset", str(data), "--model_name_or_path", "bundled"]
    folder = train([*given, *asked, "--output_dir", str(tmp_path / "one")])
    for card in (folder.path / "model" / "README.md", folder.path / "README.md"):
        text = card.read_text()
        assert "Task: `gsm8k` on `own-gsm8k`." in text
        assert "| `outcome` | `answer` |" in text
        assert "secret" not in text


@pytest.mark.slow
def test_the_saved_folder_of_a_run_has_a_card(tmp_path):
    folder = train([*SMALL, "--seed", "3", "--output_dir", str(tmp_path / "one"), "--credit_mode", "random"])
    card = ModelCard.load(folder.path / "model" / "README.md")
    assert card.data.model_name == "one"
    assert card.data.base_model is None
    said = settings_in(card)
    config = json.loads((folder.path / "config.json").read_text())
    credit = {name: str(config[f"credit_{name}"]) for name in ("mode", "boost", "noise_floor", "intervention")}
    assert credit == {name: said[name] for name in credit}
    assert said["seed"] == str(config["seed"])
    text = card.content
    assert "Trained from `bundled` for 2 steps of GRPO, with random credit" in text
    assert "Task: `wordproblems`." in text
    held_out = folder.rows(folder.held_out)
    assert f"{held_out[0]['text']} at first, {held_out[-1]['text']} at the end" in text
    assert str(tmp_path) not in text, "where it lay is nobody's business"
    for package, number in folder.facts()["versions"].items():
        assert package in ("python", "accelerate") or f"{package} {number}" in text
    first = (folder.path / "model" / "README.md").read_text()
    shutil.rmtree(folder.path / "model")
    train(["--resume", "--output_dir", str(folder.path)])
    assert (folder.path / "model" / "README.md").read_text() == first, "a run that only had to be saved says the same"
