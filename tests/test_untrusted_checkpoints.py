"""What lies in the checkpoint that `--resume` continues from is read as tensors and numbers, whoever put it there."""

import shutil
import sys
from pathlib import Path

import pytest
import torch
from input_for_tests import assert_one_sentence
from test_untrusted_models import Bomb

from spancredit import cli
from spancredit.commands.train import train
from spancredit.report.checkpoints import seal

SMALL = ["--max_steps", "2", "--save_steps", "1", "--per_device_train_batch_size", "8", "--num_generations", "4"]
SMALL += ["--max_completion_length", "24", "--held_out_problems", "4", "--train_problems", "16", "--difficulty", "easy"]
SMALL += ["--held_out_steps", "0"]
READ = ["optimizer.pt", "scheduler.pt", "rng_state.pth"]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory) -> Path:
    """A run after its first step."""
    run = tmp_path_factory.mktemp("runs") / "run"
    train([*SMALL, "--output_dir", str(run)])
    shutil.rmtree(run / "checkpoint-2")
    shutil.rmtree(run / "model")
    return run


def resume(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["spancredit", "train", "--resume", "--output_dir", str(run)])
    cli.main()


@pytest.mark.parametrize("name", READ)
def test_a_pickle_in_a_checkpoint_is_refused(interrupted, tmp_path, monkeypatch, capsys, name):
    run = shutil.copytree(interrupted, tmp_path / "run")
    assert (run / "checkpoint-1" / name).exists(), "the trainer writes it under another name now"
    torch.save(Bomb(tmp_path / "ran"), run / "checkpoint-1" / name)
    seal(run / "checkpoint-1")  # as whoever put it there could
    with pytest.raises(SystemExit) as ended:
        resume(run, monkeypatch)
    said = capsys.readouterr().err.strip()
    assert ended.value.code == 2, said
    assert_one_sentence(said.splitlines()[-1])
    assert "more than tensors and numbers (Weights only load failed)" in said
    assert not (tmp_path / "ran").exists()


def test_arguments_and_weights_beside_the_safe_ones_are_not_unpickled(interrupted, tmp_path, monkeypatch, capsys):
    run = shutil.copytree(interrupted, tmp_path / "run")
    assert (run / "checkpoint-1" / "training_args.bin").exists()
    for name in ("training_args.bin", "pytorch_model.bin"):
        torch.save(Bomb(tmp_path / "ran"), run / "checkpoint-1" / name)
    seal(run / "checkpoint-1")
    with pytest.raises(SystemExit) as ended:
        resume(run, monkeypatch)
    assert ended.value.code == 0
    assert "it starts over" not in capsys.readouterr().out, "it was read"
    assert (run / "checkpoint-2").exists()
    assert not (tmp_path / "ran").exists()


def test_pickled_weights_in_a_checkpoint_are_not_unpickled(interrupted, tmp_path, monkeypatch):
    run = shutil.copytree(interrupted, tmp_path / "run")
    (run / "checkpoint-1" / "model.safetensors").unlink()
    torch.save(Bomb(tmp_path / "ran"), run / "checkpoint-1" / "pytorch_model.bin")
    seal(run / "checkpoint-1")
    with pytest.raises(SystemExit) as ended:
        resume(run, monkeypatch)
    assert ended.value.code == 2
    assert not (tmp_path / "ran").exists()
