"""The GSM8K training benchmark: which commands it gives, that it goes on where it was, and what it reports."""

import json
import sys
from pathlib import Path

import pytest

from spancredit.commands.checked import parse_checked
from spancredit.commands.train_arguments import read_request
from spancredit.evaluation.folder import EvalFolder

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import gsm8k_train as benchmark

RIGHT = {"start": 2, "uniform": 4, "counterfactual": 6, "inverted": 3}  # of eight problems, the first so many
FLAGS = ["--data", "data", "--steps", "6", "--rollouts", "16", "--batch", "8", "--max_tokens", "40"]


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """What would be run in processes of their own; each leaves what the command would."""
    given = []

    def spancredit(command, *arguments):
        arguments = [str(argument) for argument in arguments]
        given.append((command, arguments))
        folder = Path(arguments[-1] if command == "train" else arguments[-1].partition("=")[2])
        if command == "train":
            (folder / "model").mkdir(parents=True)
            (folder / "model" / benchmark.WHOLE).touch()
        elif not folder.exists():
            right = RIGHT[folder.name.partition("-")[0]]
            evaluation = EvalFolder.create(folder, {"checksum": 0})
            evaluation.add(
                [
                    {"problem": i, "greedy": {"right": i < right, "truncated": False, "read": "1"}, "samples": []}
                    for i in range(8)
                ]
            )
            evaluation.finish({})

    monkeypatch.setattr(benchmark, "spancredit", spancredit)
    (tmp_path / "out" / "start").mkdir(parents=True)
    (tmp_path / "out" / "start" / benchmark.WHOLE).touch()  # the warm-up is done
    return given


def run(monkeypatch, tmp_path, *more):
    monkeypatch.setattr(sys, "argv", ["gsm8k_train.py", *FLAGS, "--out", str(tmp_path / "out"), *more])
    benchmark.main()
    return json.loads((tmp_path / "out" / "results.json").read_text())


def test_arms_differ_in_credit_alone_and_are_compared_in_pairs(commands, tmp_path, monkeypatch):
    found = run(monkeypatch, tmp_path)
    settings = []
    for command, arguments in commands:
        if command == "train":
            request = read_request(arguments)
            _, config, _ = parse_checked(request.config, request.flags)
            settings.append(config.to_dict())
    assert [one.pop("credit_mode") for one in settings] == [*benchmark.ARMS]
    own = {"output_dir", "logging_dir"}
    assert len({json.dumps({k: v for k, v in one.items() if k not in own}, default=str) for one in settings}) == 1
    assert settings[0]["generation_batch_size"] == 16
    assert {name.partition("-")[0]: one["mean"] * 8 for name, one in found["accuracy"].items()} == RIGHT
    assert len(found["compared"]) == 6
    (gain,) = (one for one in found["compared"] if (one["first"], one["second"]) == ("start", "counterfactual-seed0"))
    assert (gain["only_first"], gain["only_second"], gain["difference"]["mean"], gain["p"]) == (0, 4, 0.5, 0.125)
    assert "| counterfactual-seed0 against start | +50.0 (" in (tmp_path / "out" / "results.md").read_text()


def test_what_is_done_is_not_done_again_and_what_was_begun_is_resumed(commands, tmp_path, monkeypatch):
    first = run(monkeypatch, tmp_path)
    (tmp_path / "out" / "inverted-seed0" / "model" / benchmark.WHOLE).unlink()
    (tmp_path / "out" / "inverted-seed0" / "model").rmdir()
    (tmp_path / "out" / "inverted-seed0" / "run.json").touch()
    commands.clear()
    assert run(monkeypatch, tmp_path) == first
    trained = [arguments for command, arguments in commands if command == "train"]
    assert trained == [["--resume", "--output_dir", str(tmp_path / "out" / "inverted-seed0")]]
    with pytest.raises(SystemExit, match="was begun with other settings"):
        run(monkeypatch, tmp_path, "--steps", "7")
