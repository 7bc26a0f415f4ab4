"""What comes with a model or a data set is read and never run: each of these writes a file if it is."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from input_for_tests import assert_one_sentence

from spancredit.errors import DataError, ModelError
from spancredit.models import BUNDLED_FOLDERS, load_policy
from spancredit.tasks import gsm8k

CODE = """
import pathlib
pathlib.Path({canary!r}).touch()
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
class OwnConfig(LlamaConfig):
    model_type = "own"
class OwnModel(LlamaForCausalLM):
    config_class = OwnConfig
class OwnTokenizer(PreTrainedTokenizerFast):
    pass
def generate(model, **_):
    pathlib.Path({canary!r}).touch()
"""


class Bomb:
    """Unpickled, it makes a file."""

    def __init__(self, canary: Path):
        self.canary = canary

    def __reduce__(self):
        return Path.touch, (self.canary,)


@pytest.fixture
def canary(tmp_path) -> Path:
    return tmp_path / "ran"


@pytest.fixture
def folder(tmp_path) -> Path:
    """The bundled policy, in a folder of its own, which a test can spoil."""
    return Path(shutil.copytree(BUNDLED_FOLDERS["bundled"], tmp_path / "model"))


def change(file: Path, **changes: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def with_code(folder: Path, canary: Path) -> Path:
    (folder / "own.py").write_text(CODE.format(canary=str(canary)))
    classes = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}
    change(folder / "config.json", auto_map=classes, model_type="own")
    return folder


def pickled(folder: Path, canary: Path, name: str = "pytorch_model.bin") -> Path:
    (folder / "model.safetensors").unlink(missing_ok=True)
    torch.save(Bomb(canary), folder / name)
    return folder


def refusal(name: str | Path, **named: object) -> str:
    with pytest.raises(ModelError) as error:
        load_policy(str(name), **named)
    assert_one_sentence(str(error.value))
    return str(error.value)


def test_the_bombs_of_these_tests_go_off(folder, canary, tmp_path, monkeypatch):
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    with_code(folder, canary)
    load_policy(str(folder), trust_remote_code=True)
    assert canary.exists()
    canary.unlink()
    pickle.loads(pickle.dumps(Bomb(canary)))  # noqa: S301
    assert canary.exists()


@pytest.mark.parametrize("asked", [{}, {"trust_remote_code": False}])
def test_a_models_own_code_is_refused(folder, canary, asked, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("nobody is asked in the middle of a command"))
    said = refusal(with_code(folder, canary), **asked)
    assert "brings code of its own" in said
    assert "--trust_remote_code true" in said
    assert not canary.exists()


def test_a_tokenizers_own_code_is_not_run(folder, canary):
    with_code(folder, canary)
    shutil.copy(BUNDLED_FOLDERS["bundled"] / "config.json", folder)
    change(
        folder / "tokenizer_config.json",
        auto_map={"AutoTokenizer": [None, "own.OwnTokenizer"]},
        tokenizer_class="OwnTokenizer",
    )
    assert "brings code of its own" in refusal(folder)
    assert not canary.exists()


def test_a_models_own_way_to_generate_is_not_run(folder, canary):
    (folder / "custom_generate").mkdir()
    (folder / "custom_generate" / "generate.py").write_text(CODE.format(canary=str(canary)))
    model, tokenizer = load_policy(str(folder))
    model.generate(**tokenizer("2 + 3", return_tensors="pt"), max_new_tokens=1)
    assert not canary.exists()


@pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model-00001-of-00001.bin", "model.pt"])
def test_pickled_weights_are_refused(folder, canary, name):
    pickled(folder, canary, name)
    index = {"metadata": {}, "weight_map": {"model.norm.weight": "pytorch_model-00001-of-00001.bin"}}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    assert "no weights in safetensors" in refusal(folder)
    assert not canary.exists()


def test_pickled_weights_that_the_config_names_are_not_unpickled(folder, canary):
    pickled(folder, canary, "adapter_model.bin")
    change(folder / "config.json", transformers_weights="adapter_model.bin")
    assert "a pickle is not loaded" in refusal(folder)
    assert not canary.exists()


def test_weights_that_are_a_pickle_by_another_name_are_refused(folder, canary):
    pickled(folder, canary, "model.safetensors")
    refusal(folder)
    assert not canary.exists()


def test_a_pickled_adapter_is_refused(tmp_path, canary):
    peft = pytest.importorskip("peft")
    model, _ = load_policy("bundled")
    lora = peft.LoraConfig(target_modules=["q_proj"], task_type="CAUSAL_LM")
    peft.get_peft_model(model, lora).save_pretrained(tmp_path / "adapter")
    (tmp_path / "adapter" / "adapter_model.safetensors").unlink()
    torch.save(Bomb(canary), tmp_path / "adapter" / "adapter_model.bin")
    said = refusal(tmp_path / "adapter")
    assert "cannot load the adapter" in said
    assert "no weights in safetensors" in said
    assert not canary.exists()


def test_an_adapters_own_code_is_not_run(tmp_path, canary):
    peft = pytest.importorskip("peft")
    model, tokenizer = load_policy("bundled")
    folder = tmp_path / "adapter"
    peft.get_peft_model(model, peft.LoraConfig(target_modules=["q_proj"])).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "own.py").write_text(CODE.format(canary=str(canary)))
    classes = {"AutoTokenizer": [None, "own.OwnTokenizer"]}
    change(folder / "tokenizer_config.json", auto_map=classes, tokenizer_class="OwnTokenizer")
    assert "brings code of its own" in refusal(folder)
    assert not canary.exists()


KERNEL = "kernels-community/flash-attn2"
ASKED = [
    {"attn_implementation": KERNEL},
    {"_attn_implementation": f"{KERNEL}@main:flash"},
    {"attn_implementation": {"": KERNEL}},
    {"experts_implementation": KERNEL},
]


@pytest.fixture
def fetched(monkeypatch) -> list[str]:
    """What transformers would have fetched and run."""
    names: list[str] = []

    def fetch(name, **_):
        names.append(name)
        raise ValueError("no kernels here")

    monkeypatch.setattr("transformers.integrations.hub_kernels.is_kernels_available", lambda: True)
    monkeypatch.setattr("transformers.integrations.hub_kernels.get_kernel", fetch)
    return names


@pytest.mark.parametrize("asked", ASKED)
def test_kernels_that_a_config_names_are_not_fetched(folder, fetched, asked):
    change(folder / "config.json", **asked)
    said = refusal(folder)
    assert f"_implementation '{KERNEL}" in said
    assert "native code from the hub and not run unless you ask for it" in said
    assert fetched == []


def test_kernels_in_another_file_of_the_config_are_not_fetched(folder, fetched):
    """transformers reads the file of its own version, if config.json lists one."""
    shutil.copy(folder / "config.json", folder / "config.4.0.0.json")
    change(folder / "config.json", configuration_files=["config.4.0.0.json"])
    change(folder / "config.4.0.0.json", attn_implementation=KERNEL)
    assert "native code from the hub" in refusal(folder)
    assert fetched == []


def test_flash_attention_that_would_come_from_the_hub_is_not_fetched(folder, fetched, monkeypatch):
    change(folder / "config.json", attn_implementation="flash_attention_2")
    monkeypatch.setattr("spancredit.kernels.is_kernels_available", lambda: True)
    assert "native code from the hub" in refusal(folder)
    assert fetched == []


def test_kernels_that_the_caller_names_are_the_callers_own(folder, fetched):
    change(folder / "config.json", attn_implementation=KERNEL)
    assert "no kernels here" in refusal(folder, attn_implementation="own/kernels")
    assert fetched == ["own/kernels"], "or the tests above show nothing"
    assert load_policy(str(folder), attn_implementation="sdpa")[0].config._attn_implementation == "sdpa"


@pytest.fixture
def adapter(tmp_path) -> Path:
    peft = pytest.importorskip("peft")
    model, _ = load_policy("bundled")
    peft.get_peft_model(model, peft.LoraConfig(target_modules=["q_proj"])).save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


@pytest.mark.parametrize("kind", ["SHADOW", "XLORA", "IA3", None, ["LORA"], "lora"])
def test_an_adapter_that_may_load_further_weights_is_refused(adapter, tmp_path, canary, monkeypatch, kind):
    monkeypatch.setattr("peft.PeftModel.from_pretrained", lambda *_, **__: pytest.fail("peft was asked"))
    torch.save(Bomb(canary), tmp_path / "adapter_model.bin")
    further = {"adapters": {"0": str(tmp_path)}, "shadow_model": str(tmp_path)}
    change(adapter / "adapter_config.json", peft_type=kind, hidden_size=64, **further)
    assert f"is of peft_type {kind!r}; expected LORA" in refusal(adapter)
    assert not canary.exists()


def test_an_adapter_for_which_a_module_would_be_imported_is_refused(adapter, monkeypatch):
    monkeypatch.setattr("peft.PeftModel.from_pretrained", lambda *_, **__: pytest.fail("peft was asked"))
    change(adapter / "adapter_config.json", megatron_config={"a": 1}, megatron_core="megatron.core")
    assert "has a megatron_config, for which peft imports modules" in refusal(adapter)


@pytest.mark.slow
def test_pickled_weights_from_the_hub_are_refused(folder, canary, tmp_path):
    """As if they had been downloaded, since there is no hub here."""
    repository = tmp_path / "hub" / "models--own--model"
    commit = "0" * 40
    pickled(folder, canary)
    shutil.copytree(folder, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    script = "from spancredit.models import load_policy; load_policy('own/model')"
    own = {**os.environ, "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", script], env=own, capture_output=True, text=True, check=False)
    assert "ModelError: cannot load the model 'own/model': it has no weights in safetensors" in done.stderr
    assert not canary.exists()


def test_a_data_set_with_a_script_is_refused(tmp_path, canary, monkeypatch):
    """`datasets` has no scripts any more; a name that is none of our files goes to it as it is."""
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "own.py").write_text(CODE.format(canary=str(canary)))
    torch.save(Bomb(canary), tmp_path / "own" / "train.pkl")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError) as error:
        list(gsm8k._hub_rows("own", "train"))
    assert_one_sentence(str(error.value))
    assert not canary.exists()
