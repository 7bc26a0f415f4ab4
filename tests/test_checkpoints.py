"""A checkpoint that is not what was written is left out, in whatever way; and one process at a time works on a run."""

import json
import os
import shutil
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from input_for_tests import assert_one_sentence
from safetensors.torch import save_file

import spancredit as sc
from spancredit.commands import train as commands_train
from spancredit.commands.train import train
from spancredit.report.checkpoints import SEAL, fault_of, last_readable, seal
from spancredit.report.lock import locked
from spancredit.report.runfolder import RunFolder, unused
from spancredit.training.trl import CreditGRPOTrainer

TINY = ["--max_steps", "1", "--per_device_train_batch_size", "4", "--num_generations", "4", "--train_problems", "16"]
TINY += ["--save_total_limit", "1"]
TINY += ["--max_completion_length", "16", "--held_out_problems", "1", "--held_out_steps", "0", "--difficulty", "easy"]
FILES = ("model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "config.json", "trainer_state.json")


def half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def zeroed(path: Path) -> None:
    """A block that never came to the disk, in the middle."""
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 64] = bytes(len(data[middle : middle + 64]))
    path.write_bytes(data)


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


SPOILT = {"half": half, "zeroed": zeroed, "flipped": flipped, "missing": Path.unlink}


def checkpoint(run: Path, step: int) -> Path:
    """What the trainer writes, smaller."""
    path = run / f"checkpoint-{step}"
    path.mkdir(parents=True)
    save_file({"weight": torch.arange(1.0, 2000.0)}, path / "model.safetensors")
    torch.save({"moment": torch.arange(1.0, 2000.0)}, path / "optimizer.pt")
    torch.save({"lr": torch.arange(1.0, 300.0)}, path / "scheduler.pt")
    torch.save({"cpu": torch.arange(1.0, 300.0)}, path / "rng_state.pth")
    (path / "config.json").write_text(json.dumps({"architectures": ["a"] * 50}))
    (path / "trainer_state.json").write_text(json.dumps({"global_step": step, "max_steps": 9, "log": ["a"] * 50}))
    return path


@pytest.mark.parametrize("spoil", SPOILT)
@pytest.mark.parametrize("name", FILES)
def test_of_a_sealed_checkpoint_every_byte_counts(tmp_path, name, spoil):
    before, last = checkpoint(tmp_path, 9), checkpoint(tmp_path, 10)
    for one in (before, last):
        seal(one)
    assert last_readable(tmp_path) == last
    SPOILT[spoil](last / name)
    said = "missing" if spoil == "missing" else "cut off or overwritten"
    with pytest.warns(UserWarning, match=f"checkpoint-10 is left out, since {name} is {said}") as caught:
        assert last_readable(tmp_path) == before
    assert_one_sentence(str(caught[0].message))


# Without a seal nothing but its length speaks for weights, and nothing but its form for JSON.
UNSEEN = {("model.safetensors", "zeroed"), ("model.safetensors", "flipped"), ("config.json", "missing")}
UNSEEN |= {(name, "flipped") for name in FILES if name.endswith(".json")}


@pytest.mark.parametrize(
    ("name", "spoil"), [(name, spoil) for name in FILES for spoil in SPOILT if (name, spoil) not in UNSEEN]
)
def test_one_without_a_seal_is_asked_what_it_can_say_of_itself(tmp_path, name, spoil):
    before, last = checkpoint(tmp_path, 9), checkpoint(tmp_path, 10)
    assert last_readable(tmp_path) == last
    SPOILT[spoil](last / name)
    if name == "trainer_state.json":  # then it was never complete
        assert last_readable(tmp_path) == before
        return
    with pytest.warns(UserWarning, match=f"checkpoint-10 is left out, since {name} is "):
        assert last_readable(tmp_path) == before


def test_one_without_a_seal_needs_every_shard_of_its_weights(tmp_path):
    path = checkpoint(tmp_path, 1)
    (path / "model.safetensors").rename(path / "model-1-of-2.safetensors")
    index = {"weight_map": {"a": "model-1-of-2.safetensors", "b": "model-2-of-2.safetensors"}}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert fault_of(path) == "model-2-of-2.safetensors is missing"
    shutil.copy(path / "model-1-of-2.safetensors", path / "model-2-of-2.safetensors")
    assert fault_of(path) is None
    (path / "model.safetensors.index.json").write_text("[]")
    assert fault_of(path) == "the weight_map of model.safetensors.index.json is missing"


@pytest.mark.parametrize("names", [["optimizer_0", "pytorch_model_fsdp_0"], ["global_step10"], ["optimizer.bin"]])
def test_one_in_parts_has_names_of_its_own(tmp_path, names):
    path = checkpoint(tmp_path, 1)
    for name in FILES[:2]:
        (path / name).unlink()
    for name in names:
        (path / name).mkdir()
    assert fault_of(path) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"files": [{"name": "x"}]}', '{"files": 3}', "[" * 200_000])
def test_a_seal_that_says_nothing_is_named(tmp_path, text):
    path = checkpoint(tmp_path, 1)
    (path / SEAL).write_text(text)
    assert fault_of(path) == f"{SEAL} is cut off or overwritten"


def test_a_seal_reads_no_file_outside_of_its_checkpoint(tmp_path):
    path = checkpoint(tmp_path, 1)
    (tmp_path / "secret").write_text("x")
    (path / SEAL).write_text(json.dumps({"files": [{"name": "../secret", "size": 1, "sha256": ""}]}))
    assert fault_of(path) == "../secret is missing"


def test_files_that_someone_laid_beside_them_do_no_harm(tmp_path):
    path = checkpoint(tmp_path, 1)
    seal(path)
    (path / "notes.txt").write_text("mine")
    assert fault_of(path) is None


def test_a_folder_by_another_name_is_no_checkpoint(tmp_path):
    path = checkpoint(tmp_path, 40)
    for name in ("checkpoint-40-copy", "checkpoint-", "checkpoint-x", "old-checkpoint-50"):
        shutil.copytree(path, tmp_path / name)
    (tmp_path / "checkpoint-60").write_text("a file")
    assert last_readable(tmp_path) == path


# -- resuming


def metrics_of(run: Path) -> str:
    return (run / "metrics.jsonl").read_text()


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "run"
    train([*TINY, "--output_dir", str(run)])
    return run


def test_checkpoints_are_sealed_as_they_are_written(finished):
    sealed = json.loads((finished / "checkpoint-1" / SEAL).read_text())
    names = {path.name for path in (finished / "checkpoint-1").iterdir()}
    assert {row["name"] for row in sealed["files"]} | {SEAL} == names >= set(FILES)


@pytest.mark.parametrize("last", ["model", "result.json"])
def test_a_finished_run_without_a_checkpoint_is_not_trained_again(finished, tmp_path, last):
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    shutil.rmtree(run / "checkpoint-1")
    if last == "result.json":  # as a study leaves it
        shutil.rmtree(run / "model")
        (run / "result.json").write_text('{"seconds": 1.0}')
    before = {path: path.read_bytes() for path in run.glob("*.jsonl")}
    assert len(before) == 3
    with pytest.raises(sc.RunFolderError, match="is trained to its end, and has no checkpoint that can b") as caught:
        train(["--resume", "--output_dir", str(run)])
    assert_one_sentence(str(caught.value))
    assert {path: path.read_bytes() for path in run.glob("*.jsonl")} == before


def test_an_interrupted_run_without_a_checkpoint_says_that_it_starts_over(finished, tmp_path, capsys):
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    shutil.rmtree(run / "checkpoint-1")
    half(run / "model" / "model.safetensors")
    train(["--resume", "--output_dir", str(run)])
    said = " ".join(capsys.readouterr().out.split())
    assert "has no checkpoint that can be read: it starts over" in said
    assert [row["step"] for row in RunFolder(run).rows(run / "metrics.jsonl")] == [1]


def test_spoilt_checkpoints_make_way_for_those_that_a_run_writes_again(finished, tmp_path):
    """Else the trainer, which keeps one here, takes the spoilt one for the newest and removes what it has written."""
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    shutil.rmtree(run / "model")
    (run / "checkpoint-1").rename(run / "checkpoint-9")
    half(run / "checkpoint-9" / "optimizer.pt")
    (run / "checkpoint-8").mkdir()
    tomorrow = time.time() + 86400
    for step in (8, 9):
        os.utime(run / f"checkpoint-{step}", (tomorrow, tomorrow))
    with pytest.warns(UserWarning, match="checkpoint-9 is left out, since optimizer.pt is cut off"):
        train(["--resume", "--output_dir", str(run)])
    assert sorted(path.name for path in run.glob("*checkpoint-*")) == ["checkpoint-1", "spoilt-checkpoint-9"]
    assert fault_of(run / "checkpoint-1") is None


def test_a_run_is_held_from_its_beginning_to_its_end(tmp_path, monkeypatch):
    run, generate, said = tmp_path / "run", CreditGRPOTrainer._generate, []

    def meanwhile(*args, **named):
        with pytest.raises(sc.RunFolderError) as caught, locked(run, "run"):
            pass
        said.append(str(caught.value))
        return generate(*args, **named)

    monkeypatch.setattr(CreditGRPOTrainer, "_generate", meanwhile)
    train([*TINY, "--output_dir", str(run)])
    shutil.rmtree(run / "model")
    train(["--resume", "--output_dir", str(run)])
    assert said == [f"another process works on the run in {run}; wait for it or end it."]


def test_a_run_that_is_at_work_is_not_resumed_by_another(finished, tmp_path):
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    before = {path: path.read_bytes() for path in run.glob("*.json*")}
    with locked(run, "run"), pytest.raises(sc.RunFolderError, match="another process works on the run in"):
        train(["--resume", "--output_dir", str(run)])
    assert {path: path.read_bytes() for path in run.glob("*.json*")} == before


def test_of_two_runs_that_begin_in_one_folder_the_second_is_refused_and_writes_nothing(tmp_path):
    run = tmp_path / "run"
    with locked(run, "run"), pytest.raises(sc.RunFolderError, match="another process works on the run in"):
        train([*TINY, "--output_dir", str(run)])
    assert [path.name for path in run.iterdir()] == [".lock"]
    assert unused(run) == run


def test_a_run_that_began_and_ended_in_the_meantime_is_not_written_over(tmp_path, monkeypatch):
    run = tmp_path / "run"

    @contextmanager
    def later(path, what):
        RunFolder.create(path, ["--seed", "1"], None, seed=1)
        with locked(path, what):
            yield

    monkeypatch.setattr(commands_train, "locked", later)
    with pytest.raises(sc.RunFolderError, match="already holds a run"):
        train([*TINY, "--output_dir", str(run)])
    assert RunFolder.reopen(run).facts()["flags"] == ["--seed", "1"]
