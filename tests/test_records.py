"""Records and run folders: what is written can be read, and nothing written is lost."""

import json
import math

import pytest
import torch

import spancredit as sc
from spancredit.models import load_policy
from spancredit.report.records import SCHEMA, append_lines, keep_until, make_record, read_lines
from spancredit.report.runfolder import RunFolder, latest, unused
from spancredit.report.terminal import coloured, explanation

COMPLETION = " Ana now has 2 + 3 = 5 eggs. 你好😀\n#### 5<eos>"


@pytest.fixture(scope="module")
def record():
    model, tokenizer = load_policy("bundled")
    rollout = sc.Rollout(tokenizer("Question: é?\nSolution:")["input_ids"], tokenizer(COMPLETION)["input_ids"], 0.5)
    return make_record(rollout, sc.assign_credit(model, tokenizer, [rollout])[0], tokenizer, step=7, reward=1.0)


def test_a_record_survives_json_and_its_tokens_join_to_the_completion(record, tmp_path):
    append_lines(tmp_path / "records.jsonl", [record])
    (read,) = read_lines(tmp_path / "records.jsonl")
    assert read == json.loads(json.dumps(record))
    assert "".join(read["tokens"]) == COMPLETION
    assert len(read["tokens"]) == len(read["token_weights"])
    assert sum(read["token_weights"]) / len(read["token_weights"]) == pytest.approx(1, abs=1e-4)
    assert (read["schema"], read["step"], read["reward"], read["advantage"]) == (SCHEMA, 7, 1.0, 0.5)
    assert {"start", "end", "kind", "text", "drop", "importance", "weight"} == set(read["spans"][0])


def test_an_empty_completion_has_a_record():
    _, tokenizer = load_policy("bundled")
    credit = sc.Credit(torch.ones(0), reason="empty_completion")
    assert make_record(sc.Rollout([5], []), credit, tokenizer, step=0)["tokens"] == []


def test_the_terminal_shows_every_character_and_span(record):
    from rich.console import Console

    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    assert coloured(record).plain == COMPLETION
    console.print(explanation(record))
    shown = console.export_text()
    assert "2 + 3 = 5" in shown
    assert "calculation" in shown


def test_numbers_that_json_does_not_know_become_null(tmp_path):
    append_lines(tmp_path / "x", [{"step": 1, "a": math.nan, "b": [math.inf, 1.5]}])
    assert list(read_lines(tmp_path / "x")) == [{"step": 1, "a": None, "b": [None, 1.5]}]


def test_a_last_line_that_a_crash_cut_off_is_left_out_and_repaired(tmp_path):
    path = tmp_path / "x.jsonl"
    append_lines(path, [{"step": 1}, {"step": 2}])
    path.write_text(path.read_text() + '{"step": 3, "tex')
    assert [row["step"] for row in read_lines(path)] == [1, 2]
    keep_until(path, 1)
    append_lines(path, [{"step": 2}])
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n'


@pytest.mark.parametrize(
    ("line", "said"),
    [("{broken", "line 2 is not JSON"), ("[1]", "line 2 has list"), ('{"schema": 99}', "line 2 has schema 99")],
)
def test_a_broken_line_is_named(tmp_path, line, said):
    path = tmp_path / "x.jsonl"
    path.write_text('{"step": 1}\n' + line + '\n{"step": 3}\n')
    with pytest.raises(sc.RecordError, match=said):
        list(read_lines(path))


def test_a_folder_with_a_run_is_not_overwritten(tmp_path):
    (tmp_path / "own.yaml").write_text("max_steps: 3\n")
    folder = RunFolder.create(tmp_path / "a", ["--seed", "1"], tmp_path / "own.yaml", seed=1)
    assert folder.request() == (tmp_path / "a" / "settings.yaml", ["--seed", "1"])
    assert (tmp_path / "a" / "settings.yaml").read_text() == "max_steps: 3\n"
    with pytest.raises(sc.RunFolderError, match="already holds a run; --resume continues it"):
        RunFolder.create(tmp_path / "a", [], None, seed=0)
    assert unused(tmp_path / "a") == tmp_path / "a-2"
    assert latest(tmp_path) == tmp_path / "a"


def test_a_missing_run_is_named(tmp_path):
    with pytest.raises(sc.RunFolderError, match="holds no run to resume"):
        RunFolder.reopen(tmp_path)
    with pytest.raises(sc.RunFolderError, match="no run below"):
        latest(tmp_path)


def test_an_incomplete_checkpoint_is_passed_over(tmp_path):
    folder = RunFolder.create(tmp_path, [], None, seed=0)
    for step, state in ((10, "{}"), (9, "{}"), (20, '{"glob'), (30, None)):
        (tmp_path / f"checkpoint-{step}").mkdir()
        if state is not None:
            (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text(state)
    assert folder.last_checkpoint() == tmp_path / "checkpoint-10"
