"""Credit's metrics arrive in the trackers that TRL reports to, by `report_to` and nothing else, each read back."""

import json
import os
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest
from datasets import Dataset
from toy_models import TRAINER

from spancredit.models import load_policy
from spancredit.tasks.wordproblems import problems
from spancredit.training.trl import CreditGRPOConfig, CreditGRPOTrainer

STEPS = 2
EXPECTED = {"credit/scored", "credit/tokens_forwarded", "credit/weight_share/calculation", "credit/time_share"}

pytestmark = pytest.mark.slow


def train(folder: Path, tracker: str) -> list[dict[str, float]]:
    """Two steps, with completions logged as well; what the trainer logged of credit, step by step."""
    model, tokenizer = load_policy("bundled")
    rows = Dataset.from_list([problem.row() for problem in islice(problems("train", 0, "easy"), 8)])
    asked = {**TRAINER, "report_to": [tracker], "logging_steps": 1, "max_steps": STEPS, "log_completions": True}
    sizes = {"per_device_train_batch_size": 8, "num_generations": 4, "max_completion_length": 40}
    trainer = CreditGRPOTrainer(
        model,
        lambda completions, **_: [float(i % 2) for i in range(len(completions))],
        CreditGRPOConfig(output_dir=str(folder), run_name="one", **{**asked, **sizes}),
        train_dataset=rows,
        processing_class=tokenizer,
    )
    trainer.train()
    rows = [row for row in trainer.state.log_history if "reward" in row]
    assert len(rows) == STEPS
    assert all(set(row) >= EXPECTED for row in rows)
    return [{name: value for name, value in row.items() if name.startswith("credit/")} for row in rows]


def test_tensorboard(tmp_path, monkeypatch):
    accumulators = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="tensorboard is not installed"
    )
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "events"))
    logged = train(tmp_path, "tensorboard")
    events = accumulators.EventAccumulator(str(tmp_path / "events"))
    events.Reload()
    for name in set.union(*map(set, logged)):
        read = {event.step: event.value for event in events.Scalars(f"train/{name}")}
        assert read == pytest.approx({i: row[name] for i, row in enumerate(logged, 1) if name in row}), name


def read_back(folder: Path, tracker: str, script: str) -> tuple[list[dict[str, float]], list[dict[str, float]]]:
    """Train in a process of its own, since trackers find their folders when they are loaded: logged, and read."""
    own = {**os.environ, "TRACKIO_DIR": str(folder), "WANDB_DIR": str(folder), "HF_HUB_OFFLINE": "1"}
    own |= {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}
    own["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    begin = "import json, pathlib; from test_trackers import train"
    run = f"logged = train(pathlib.Path({str(folder)!r}), {tracker!r})"
    end = f"pathlib.Path({str(folder / 'read.json')!r}).write_text(json.dumps([logged, read]))"
    command = [sys.executable, "-c", "\n".join([begin, run, script, end])]
    done = subprocess.run(command, env=own, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    logged, read = json.loads((folder / "read.json").read_text())
    return logged, read


def test_trackio(tmp_path):
    pytest.importorskip("trackio", reason="trackio is not installed")
    script = """
from trackio.sqlite_storage import SQLiteStorage
(project,) = SQLiteStorage.get_projects()
read = [row for row in SQLiteStorage.get_logs(project, "one") if "train/credit/scored" in row]
"""
    logged, read = read_back(tmp_path, "trackio", script)
    assert len(read) == STEPS
    for row, found in zip(logged, read, strict=True):
        assert {name: found[f"train/{name}"] for name in row} == pytest.approx(row)


def test_wandb(tmp_path):
    pytest.importorskip("wandb", reason="wandb is not installed")
    script = """
import wandb
read = [{name: wandb.run.summary[f"train/{name}"] for name in logged[-1]}]
wandb.finish()
"""
    logged, read = read_back(tmp_path, "wandb", script)
    assert read[0] == pytest.approx(logged[-1])
