"""`load_policy`: folders, adapters and GGUF files, what does not load and what does not fit, each one sentence."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from gguf_for_tests import write_gguf
from input_for_tests import assert_one_sentence
from transformers import AutoModelForCausalLM, LlamaConfig

import spancredit as sc
from spancredit import models
from spancredit.errors import ConfigError, ModelError, UnknownNameError
from spancredit.models import BUNDLED_FOLDERS, load_policy

PROMPT, COMPLETION = "Question: Ana has 2 eggs and finds 3.\nSolution:", " Ana has 2 + 3 = 5 eggs.\n#### 5"


def refusal(name: str | Path, **named: Any) -> str:
    with pytest.raises(ModelError) as error:
        load_policy(str(name), **named)
    assert_one_sentence(str(error.value))
    return str(error.value)


@pytest.fixture(scope="module")
def adapter(tmp_path_factory) -> Path:
    """An adapter over the bundled policy that changes it."""
    peft = pytest.importorskip("peft")
    model, _ = load_policy("bundled")
    lora = peft.get_peft_model(model, peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"))
    torch.manual_seed(0)
    for name, parameter in lora.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    folder = tmp_path_factory.mktemp("adapters") / "own"
    lora.save_pretrained(folder)
    return folder


def over(base: str | Path | None, adapter: Path, folder: Path) -> Path:
    """The same adapter, said to be for another base."""
    shutil.copytree(adapter, folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": base and str(base)}))
    return folder


def other_base(folder: Path, tokenizer: Any, **changes: Any) -> Path:
    config = LlamaConfig.from_pretrained(BUNDLED_FOLDERS["bundled"], **changes)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_an_adapter_is_laid_over_its_base_and_scored_exactly(adapter, policy):
    model, tokenizer = load_policy(str(adapter))
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    rollout = sc.Rollout(tokenizer(PROMPT)["input_ids"], tokenizer(COMPLETION, add_special_tokens=False)["input_ids"])

    def drops(model, scorer):
        credit = sc.assign_credit(model, tokenizer, [rollout], sc.CreditConfig(scorer=scorer))[0]
        assert credit.cost.fallbacks == 0
        return torch.tensor([span.drop for span in credit.spans])

    packed, definition, without = drops(model, "packed"), drops(model, "sequential"), drops(policy[0], "sequential")
    assert torch.allclose(packed, definition, atol=1e-4)
    assert (packed - without).abs().max() > 0.01
    assert torch.allclose(packed, drops(model.merge_and_unload(), "packed"), atol=1e-3)


def test_only_the_adapter_is_trained(adapter):
    model, _ = load_policy(str(adapter), trainable=True)
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert trained
    assert all("lora_" in name for name in trained)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hidden_size": 64}, "size mismatch"),
        ({"num_hidden_layers": 1}, "has no place for"),
        ({"num_hidden_layers": 4}, "has no weights for"),
    ],
)
def test_an_adapter_for_another_base_is_refused(adapter, tmp_path, policy, changes, said):
    base = other_base(tmp_path / "base", policy[1], **changes)
    message = refusal(over(base, adapter, tmp_path / "adapter"))
    assert "does not fit its base" in message
    assert said in message


def test_an_adapter_without_its_base_is_refused(adapter, tmp_path):
    assert "there is no such folder" in refusal(over("/nowhere/base", adapter, tmp_path / "gone"))
    assert "names no base" in refusal(over(None, adapter, tmp_path / "none"))
    assert "an adapter itself" in refusal(over(adapter, adapter, tmp_path / "chain"))
    (tmp_path / "chain" / "adapter_config.json").write_text("{")
    assert "cannot load the model" in refusal(tmp_path / "chain")


def test_an_adapter_without_peft_is_refused(adapter, monkeypatch):
    monkeypatch.setattr(models, "is_peft_available", lambda: False)
    assert "pip install 'spancredit[peft]'" in refusal(adapter)


def train_a_step(model: Path, folder: Path, *more: str) -> Any:
    """One step of the embedded task; the policy that comes out of it."""
    from spancredit.commands.train import train

    small = ["--max_steps", "1", "--per_device_train_batch_size", "32", "--num_generations", "4", "--save_steps", "1"]
    small += ["--max_completion_length", "40", "--held_out_problems", "8", "--train_problems", "64"]
    small += ["--difficulty", "easy", "--held_out_steps", "0", "--learning_rate", "1e-2"]
    train(["--model_name_or_path", str(model), *small, "--output_dir", str(folder), *more])
    return load_policy(str(folder / "model"))[0]


@pytest.mark.slow
def test_training_goes_on_with_an_adapter(adapter, tmp_path):
    with pytest.raises(ConfigError, match="is an adapter, which is trained on as it is"):
        train_a_step(adapter, tmp_path / "run", "--use_peft", "true")
    after = train_a_step(adapter, tmp_path / "run")
    before, after = load_policy(str(adapter))[0].state_dict(), after.state_dict()
    changed = {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}
    assert changed
    assert all("lora_" in name for name in changed)


@pytest.fixture(scope="module")
def gguf_file(tmp_path_factory) -> tuple[Path, Any]:
    pytest.importorskip("gguf", reason="gguf is not installed: pip install 'spancredit[gguf]'")
    file = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    return file, write_gguf(file)


def test_a_gguf_file_is_a_plain_model_with_its_tokenizer(gguf_file, tmp_path):
    file, original = gguf_file
    model, tokenizer = load_policy(str(file))
    ids = torch.tensor([tokenizer("The 12 + 3 = 15<think> é😀\n#### 15<eos>")["input_ids"]])
    assert tokenizer.decode(ids[0]) == "The 12 + 3 = 15<think> é😀\n#### 15<eos>"
    assert torch.allclose(model(ids).logits, original(ids).logits, atol=1e-5)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert torch.equal(load_policy(str(tmp_path))[0](ids).logits, model(ids).logits)
    assert load_policy(str(file), dtype="bfloat16")[0].dtype == torch.bfloat16


def test_an_adapter_over_a_gguf_file_finds_it_again(gguf_file, tmp_path):
    peft = pytest.importorskip("peft")
    model, _ = load_policy(str(gguf_file[0]))
    peft.get_peft_model(model, peft.LoraConfig(target_modules=["q_proj"])).save_pretrained(tmp_path)
    assert load_policy(str(tmp_path))[0].peft_type == "LORA"


@pytest.mark.slow
def test_what_was_a_gguf_file_is_trained_and_saved_as_a_plain_model(gguf_file, tmp_path):
    trained = train_a_step(gguf_file[0], tmp_path / "run")
    assert (tmp_path / "run" / "model" / "model.safetensors").is_file()
    assert trained.config.model_type == "qwen2"
    assert not getattr(trained, "is_quantized", False)


@pytest.mark.parametrize("size", [0, 100, 3000, 100_000])
def test_a_gguf_file_that_was_cut_off_is_one_sentence(gguf_file, tmp_path, size):
    (tmp_path / "cut.gguf").write_bytes(gguf_file[0].read_bytes()[:size])
    assert "cannot load the model" in refusal(tmp_path / "cut.gguf")


def test_what_is_no_gguf_file_is_one_sentence(tmp_path):
    (tmp_path / "text.gguf").write_text("This is text, and no weights at all.")
    assert "magic" in refusal(tmp_path / "text.gguf")
    assert "there is no such file" in refusal(tmp_path / "none.gguf")
    assert "there is no such file" in refusal("none.gguf")
    assert "no other quantization" in refusal(tmp_path / "text.gguf", quantization_config=object())


def test_a_gguf_file_without_the_package_is_refused(tmp_path, monkeypatch):
    def missing(*_: Any, **__: Any) -> None:
        raise ImportError("Please install torch and gguf")

    (tmp_path / "x.gguf").touch()
    monkeypatch.setattr(models.AutoTokenizer, "from_pretrained", missing)
    assert "pip install 'spancredit[gguf]'" in refusal(tmp_path / "x.gguf")


# Values of a config, and what is said of them.
BAD = {
    "gptq": ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "cannot load the model"),
    "a text for a number": ({"hidden_size": "x"}, "Validation error for field 'hidden_size'"),
    "negative": ({"vocab_size": -3}, "cannot load the model"),
    "no head": ({"num_attention_heads": 0}, "cannot load the model"),
    "another size": ({"hidden_size": 32}, "cannot load the model"),
    "no mapping": ({"rope_parameters": "x"}, "cannot load the model"),
    "a list": ({"num_hidden_layers": [2]}, "Validation error for field 'num_hidden_layers'"),
    "another family": ({"model_type": "no-such-family"}, "expected"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_folder_with_a_bad_config_is_one_sentence(tmp_path, name):
    folder, (changes, said) = Path(shutil.copytree(BUNDLED_FOLDERS["bundled"], tmp_path / "model")), BAD[name]
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    words = refusal(folder)
    assert said in words
    assert "no weights in safetensors" not in words


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json", "tokenizer.json"])
def test_a_folder_with_json_that_is_too_deep_is_one_sentence(tmp_path, file):
    folder = Path(shutil.copytree(BUNDLED_FOLDERS["bundled"], tmp_path / "model"))
    (folder / file).write_text("[" * 200_000)
    refusal(folder)


@pytest.mark.parametrize("name", ["me/tiny-safetensors", "no/trust_remote_code"])
def test_a_name_that_is_mistyped_is_not_taken_for_what_it_says(name, monkeypatch):
    def unknown(*_: Any, **__: Any) -> None:
        raise OSError(f"{name} is not a local folder and is not a valid model identifier listed on the hub")

    monkeypatch.setattr(models, "cached_file", unknown)
    words = refusal(name)
    assert "no weights in safetensors" not in words
    assert "code of its own" not in words
    assert f"a name on a hub that can be reached ({name} is not" in words


def test_out_of_memory_is_not_taken_for_a_bad_model(monkeypatch):
    def full(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(models.AutoModelForCausalLM, "from_pretrained", full)
    with pytest.raises(torch.OutOfMemoryError):
        load_policy("bundled")


def test_a_dtype_that_there_is_not():
    with pytest.raises(UnknownNameError, match=r"unknown dtype 'float23'.*Did you mean 'float32'"):
        load_policy("bundled", dtype="float23")
