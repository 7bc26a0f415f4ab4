"""A reward that asks a server: one that dies ends a run in one sentence, and the run goes on once it is up again."""

from pathlib import Path

import pytest
from input_for_tests import assert_one_sentence
from reward_server import served, server
from test_faults import LINES, assert_same_run, rows

import spancredit as sc
from spancredit.commands import prepare
from spancredit.commands.train import train

FEW = [
    *("--max_steps", "3", "--save_steps", "1", "--per_device_train_batch_size", "8", "--num_generations", "4"),
    *("--max_completion_length", "32", "--held_out_problems", "4", "--train_problems", "64", "--difficulty", "easy"),
    *("--held_out_steps", "0", "--learning_rate", "1e-3"),
]
LOST = r"reward function 'judge' raised (IncompleteRead|ConnectionResetError|RemoteDisconnected)\(.*\) at step 2"


@pytest.fixture
def trained(monkeypatch):
    """Trains with a server as the judge."""

    def run(path: Path, *flags: str, last: int | None = None):
        with server(last) as url, monkeypatch.context() as patch:
            patch.setattr(prepare, "rewards", lambda *_: [served(url)])
            train([*flags, "--output_dir", str(path)])

    return run


@pytest.mark.slow
def test_a_reward_server_that_dies_ends_the_run_and_once_it_is_up_the_run_ends_as_if_it_had_lived(trained, tmp_path):
    trained(tmp_path / "whole", *FEW)
    assert {row["reward"] for row in rows(tmp_path / "whole" / "records.jsonl")} == {0.0, 1.0}
    with pytest.raises(sc.TrainerError, match=LOST) as caught:
        trained(tmp_path / "run", *FEW, last=2)
    assert_one_sentence(str(caught.value))
    for name in LINES:
        kept = rows(tmp_path / "run" / name)
        assert kept
        assert kept == rows(tmp_path / "whole" / name)[: len(kept)], "what was written before is kept"
    with pytest.raises(sc.TrainerError, match=LOST):
        trained(tmp_path / "run", "--resume", last=1)
    trained(tmp_path / "run", "--resume")
    assert_same_run(tmp_path / "whole", tmp_path / "run")
