"""Records and run folders: what is written can be read, and nothing written is lost."""

import json
import math
from itertools import pairwise

import pytest
import torch
from input_for_tests import assert_one_sentence, full_disk
from rich.console import Console

import spancredit as sc
from spancredit.commands.recorder import Recorder
from spancredit.models import load_policy
from spancredit.report.checkpoints import last_readable, seal
from spancredit.report.lines import SCHEMA, append_lines, is_json, keep_until, read_lines, write
from spancredit.report.records import make_record
from spancredit.report.runfolder import RunFolder, latest, unused
from spancredit.report.terminal import coloured, explanation
from spancredit.training.trl import CreditBatch

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
    keep_until([path], 1)
    append_lines(path, [{"step": 2}])
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n'


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"{broken", "line 2 is not JSON"),
        (b'{"step": 2, "tex{"step": 2}', "line 2 is not JSON"),
        (b"\x00\x00\xff\xfe", "line 2 is not JSON"),
        (b"[" * 200_000, "line 2 is not JSON"),
        (b'{"step": ' + b"7" * 5000 + b"}", "line 2 is not JSON"),
        (b'{"step": true}', "line 2 has step True"),
        (b"[1]", "line 2 has list"),
        (b'{"schema": 99}', "line 2 has schema 99"),
        (b'{"reward": 1.0}', "line 2 has step None"),
    ],
)
def test_a_broken_line_is_named_and_changes_no_file(tmp_path, line, said):
    sound, path = tmp_path / "sound.jsonl", tmp_path / "x.jsonl"
    append_lines(sound, [{"step": 1}, {"step": 3}])
    path.write_bytes(b'{"step": 1}\n' + line + b'\n{"step": 3}\n')
    before = sound.read_bytes(), path.read_bytes()
    for read in (lambda: list(read_lines(path)), lambda: keep_until([sound, path], 1)):
        with pytest.raises(sc.RecordError, match=said) as caught:
            read()
        assert str(path) in str(caught.value)
        assert_one_sentence(str(caught.value))
    assert (sound.read_bytes(), path.read_bytes()) == before


def test_lines_that_are_kept_are_kept_as_they_are(tmp_path):
    """Also those that Python reads and would not write again."""
    path = tmp_path / "x.jsonl"
    deep = '{"step":  1, "a": ' + "[" * 900 + "]" * 900 + "}"
    path.write_text(f'{deep}\n{{"step": 2}}\n{{"step": 3}}')
    keep_until([path], 2)
    assert path.read_text() == f'{deep}\n{{"step": 2}}\n'
    keep_until([path], 3)
    assert path.read_text().endswith('{"step": 2}\n')


def test_what_is_too_deep_for_json_is_no_json(tmp_path):
    (tmp_path / "run.json").write_text("[" * 200_000)
    assert not is_json(tmp_path / "run.json")
    assert not is_json(tmp_path / "none.json")


def test_rows_that_did_not_fit_on_the_disk_leave_those_before_readable_and_are_written_again(tmp_path):
    path = tmp_path / "x.jsonl"
    append_lines(path, [{"step": 1}, {"step": 2}])
    with full_disk("x.jsonl", room=5), pytest.raises(OSError, match="No space left"):
        append_lines(path, [{"step": 3}])
    assert path.read_text().endswith('{"ste'), "some of it was written"
    assert [row["step"] for row in read_lines(path)] == [1, 2]
    keep_until([path], 2)
    append_lines(path, [{"step": 3}])
    assert [row["step"] for row in read_lines(path)] == [1, 2, 3]


def test_a_file_that_does_not_fit_on_the_disk_stays_what_it_was(tmp_path):
    page, lines = tmp_path / "page.html", tmp_path / "x.jsonl"
    write(page, "before")
    append_lines(lines, [{"step": 1}, {"step": 2}])
    for path, rewrite in ((page, lambda: write(page, "after")), (lines, lambda: keep_until([lines], 1))):
        before = path.read_bytes()
        with full_disk(f"{path.name}.part", room=3), pytest.raises(OSError, match="No space left"):
            rewrite()
        assert path.read_bytes() == before
    assert sorted(tmp_path.iterdir()) == [page, lines], "what did not fit takes no space"


@pytest.mark.parametrize("name", ["settings.yaml", "run.json"])
def test_a_run_that_cannot_be_begun_on_a_full_disk_can_be_begun_later(tmp_path, name):
    (tmp_path / "own.yaml").write_text("max_steps: 3\n")
    begin = lambda: RunFolder.create(tmp_path / "run", [], tmp_path / "own.yaml", seed=1)  # noqa: E731
    with full_disk(f"{name}.part", room=5), pytest.raises(OSError, match="No space left"):
        begin()
    with pytest.raises(sc.RunFolderError, match="holds no run to resume"):
        RunFolder.reopen(tmp_path / "run")
    assert begin().facts()["seed"] == 1


def test_a_run_whose_beginning_cannot_be_read_is_named(tmp_path):
    folder = RunFolder.create(tmp_path, [], None, seed=1)
    (tmp_path / "run.json").write_text('{"flags": [')
    with pytest.raises(sc.RunFolderError, match=r"run\.json is no JSON object; expected the flags") as caught:
        folder.request()
    assert_one_sentence(str(caught.value))


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
        checkpoint = tmp_path / f"checkpoint-{step}"
        checkpoint.mkdir()
        if state is not None:
            (checkpoint / "trainer_state.json").write_text(state)
        if state == "{}":
            seal(checkpoint)
    assert last_readable(folder.path) == tmp_path / "checkpoint-10"


@pytest.mark.parametrize(("size", "most"), [(24, 16), (24, 1), (24, 0), (16, 16), (8, 16), (128, 16)])
def test_as_many_rollouts_of_a_batch_become_records_as_were_asked_for(policy, tmp_path, size, most):
    _, tokenizer = policy
    folder = RunFolder.create(tmp_path / "run", [], None, 0)
    recorder = Recorder(folder, tokenizer, None, 0, None, most, Console(quiet=True), None)
    rollouts = [sc.Rollout([5], [6] * (1 + i)) for i in range(size)]
    credits = [sc.Credit(torch.ones(1 + i), reason="uniform") for i in range(size)]
    rewards = [float(i) for i in range(size)]
    recorder.record(CreditBatch(step=0, rollouts=rollouts, credits=credits, rewards=rewards, first_rewards=rewards))
    kept = [int(row["reward"]) for row in folder.rows(folder.records)]
    assert len(kept) == min(size, most)
    assert [len(row["tokens"]) - 1 for row in folder.rows(folder.records)] == kept
    if most > 1:
        assert (kept[0], kept[-1]) == (0, size - 1)
        assert max(b - a for a, b in pairwise(kept)) - min(b - a for a, b in pairwise(kept)) <= 1
