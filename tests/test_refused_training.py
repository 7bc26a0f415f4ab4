"""What transformers' trainer refuses: said in one sentence, with no run folder in the way of the corrected command."""

import re

import pytest
from input_for_tests import assert_one_sentence

import spancredit as sc
from spancredit.commands import train as command
from spancredit.commands.train import train

SHORT = ["--max_steps", "1", "--train_problems", "16", "--held_out_problems", "1", "--max_completion_length", "8"]
SMALL = ["--per_device_train_batch_size", "4", "--num_generations", "4", "--gradient_accumulation_steps", "1"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            "--eval_strategy steps --eval_steps 1",
            "is 'steps', and there is no evaluation dataset; .*held_out_steps",
        ),
        ("--eval_strategy epoch", "eval_strategy is 'epoch'"),
        ("--eval_on_start true", "eval_on_start is set, and there is no evaluation dataset"),
        (
            "--save_strategy best",
            "is 'best', and no evaluation says which .*; expected 'steps', 'epoch' or 'no'",
        ),
        (
            "--load_best_model_at_end true",
            "load_best_model_at_end is set, and no evaluation says which .*; expected it",
        ),
        ("--load_best_model_at_end true --save_strategy best", "save_strategy is 'best'"),
        ("--report_to foo", "unknown report_to 'foo'; expected one of 'none', 'all', .*'tensorboard'"),
        ("--report_to tensorbord", "Did you mean 'tensorboard'"),
    ],
)
def test_evaluations_and_unknown_trackers_are_refused_before_there_is_a_run_folder(tmp_path, monkeypatch, flags, said):
    monkeypatch.setattr(command, "_run", unexpected)
    with pytest.raises(sc.ConfigError, match=said) as caught:
        train([*SHORT, *SMALL, *flags.split(), "--output_dir", str(tmp_path / "run")])
    assert_one_sentence(str(caught.value))
    assert not (tmp_path / "run").exists()


def unexpected(*_, **__):
    raise AssertionError("a run folder was made")


def refuses(error):
    def trainer(*_, **__):
        raise error

    return trainer


@pytest.mark.parametrize(
    ("error", "raised", "said"),
    [
        (ValueError("two\n  lines."), sc.ConfigError, r"the trainer cannot be made: two lines\.$"),
        (ImportError("no package foo"), sc.ConfigError, "cannot be made: no package foo"),
        (RuntimeError("X requires x to be installed. Run `pip install x`."), sc.ConfigError, "Run `pip install x`"),
        (RuntimeError("CUDA error"), RuntimeError, "^CUDA error$"),
        (TypeError("unexpected argument"), TypeError, "^unexpected argument$"),
        (sc.TrainerError("the policy reads images."), sc.TrainerError, "^the policy reads images.$"),
    ],
)
def test_a_trainer_that_cannot_be_made_leaves_no_run_folder(tmp_path, monkeypatch, error, raised, said):
    run, yaml = tmp_path / "run", tmp_path / "own.yaml"
    yaml.write_text("seed: 1")
    with monkeypatch.context() as patch:
        patch.setattr(command, "CreditGRPOTrainer", refuses(error))
        with pytest.raises(raised, match=said):
            train([*SHORT, *SMALL, "--config", str(yaml), "--output_dir", str(run)])
    assert not run.exists()
    assert yaml.exists()


def test_the_corrected_command_is_taken(tmp_path, monkeypatch):
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(command, "CreditGRPOTrainer", refuses(ValueError("no")))
        with pytest.raises(sc.ConfigError):
            train([*SHORT, *SMALL, "--output_dir", str(run)])
    assert train([*SHORT, *SMALL, "--output_dir", str(run)]).path == run
    assert (run / "model" / "model.safetensors").exists()


def test_of_a_folder_that_was_there_only_what_was_made_is_removed(tmp_path, monkeypatch):
    run = tmp_path / "run"
    run.mkdir()
    (run / "settings.yaml").write_text("seed: 1")
    (run / "notes.txt").write_text("mine")
    monkeypatch.setattr(command, "CreditGRPOTrainer", refuses(ValueError("no")))
    with pytest.raises(sc.ConfigError):
        train([*SHORT, *SMALL, "--config", str(run / "settings.yaml"), "--output_dir", str(run)])
    assert {path.name: path.read_text() for path in run.iterdir()} == {"settings.yaml": "seed: 1", "notes.txt": "mine"}


def test_a_run_that_is_resumed_keeps_its_folder(tmp_path, monkeypatch):
    run = tmp_path / "run"
    train([*SHORT, *SMALL, "--save_strategy", "steps", "--save_steps", "1", "--output_dir", str(run)])
    (run / "model" / "model.safetensors").unlink()
    before = sorted(path.name for path in run.iterdir())
    monkeypatch.setattr(command, "CreditGRPOTrainer", refuses(ValueError("no")))
    with pytest.raises(sc.ConfigError, match=re.escape("the trainer cannot be made: no.")):
        train(["--resume", "--output_dir", str(run)])
    assert sorted(path.name for path in run.iterdir()) == before
