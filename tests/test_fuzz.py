"""The fuzzing finds nothing, and would find something: a planted error, a crash, a hang."""

import json
import os
import re
import time
from contextlib import suppress

import fuzz_targets
import fuzzing
import pytest

from spancredit.text import segment
from spancredit.text.align import AlignedText
from spancredit.text.answers import AnswerMatch


@pytest.mark.parametrize("target", fuzzing.TARGETS)
def test_nothing_is_found_by_a_few(target, tmp_path):
    cases = range(max(5, 100 // fuzzing.RARE.get(target, 1)))
    assert fuzzing.run_cases(target, 1, cases, tmp_path) == (len(cases), [])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_nothing_is_found_by_a_hundred_thousand():
    found = fuzzing.fuzz(100_000, seed=0, seconds=600)
    assert [failure for one in found.values() for failure in one["failures"]] == []
    assert sum(one["cases"] for one in found.values()) >= 100_000, "they fit in ten minutes, five times over"


def found_by(target, tmp_path, cases=300):
    return fuzzing.run_cases(target, 0, range(cases), tmp_path)[1]


def test_a_lost_token_is_found(tmp_path, monkeypatch):
    tile = AlignedText.tile
    monkeypatch.setattr(AlignedText, "tile", lambda self, cuts: [*tile(self, cuts)[:-1], (0, 0)])
    assert found_by("aligned", tmp_path)
    assert found_by("segmented", tmp_path)


def test_an_overlap_is_found(tmp_path, monkeypatch):
    merge = segment._merge
    monkeypatch.setattr(
        segment, "_merge", lambda ranges, most: [(max(0, a - 1), b, k) for a, b, k in merge(ranges, most)]
    )
    assert any("spans tile the tokens" in failure for failure in found_by("segmented", tmp_path))


def test_a_crash_is_found_and_can_be_run_again(tmp_path, monkeypatch, capsys):
    def crashes(text, pattern=None):
        return AnswerMatch(0, 0, len(text) + 1) if "好" in text else None

    monkeypatch.setattr(fuzz_targets, "locate_answer", crashes)
    target, seed, number, *_ = found_by("located", tmp_path)[0].split(":")
    monkeypatch.setattr("sys.argv", ["fuzzing.py", "--case", f"{target}:{seed}:{number}"])
    with pytest.raises(AssertionError):
        fuzzing.main()
    monkeypatch.undo()
    monkeypatch.setattr("sys.argv", ["fuzzing.py", "--case", f"{target}:{seed}:{number}"])
    fuzzing.main()


def spins(_):
    while True:
        with suppress(Exception):
            sum(range(1000))


def spins_in_c(_):
    re.match(r"(a+)+$", "a" * 100 + "b")


def sleeps(_):
    while True:
        with suppress(Exception):
            time.sleep(0.01)


def exits(_):
    os._exit(3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("planted", "wait", "said"),
    [
        (spins, 60.0, "Hang: no end after 0.2 s of the processor"),
        (spins_in_c, 60.0, "Hang: no end after 0.2 s of the processor"),
        (sleeps, 1.0, "Hang: no word for 1 s"),
        (exits, 60.0, "the process ended (3)"),
    ],
)
def test_what_ends_its_process_or_never_ends_is_found_and_the_next_is_run(tmp_path, monkeypatch, planted, wait, said):
    monkeypatch.setattr(fuzzing, "HANG", 0.2)
    monkeypatch.setattr(fuzzing, "WAIT", wait)
    monkeypatch.setattr(fuzz_targets, "final_number", planted)
    assert fuzzing.run_cases("read", 0, range(2), tmp_path) == (2, [f"read:0:{n}: {said}" for n in range(2)])


def test_a_record_that_cannot_be_shown_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(fuzz_targets, "of_record", lambda _: ())
    kinds = {failure.split(": ")[1] for failure in found_by("recorded", tmp_path)}
    assert {"KeyError", "TypeError"} <= kinds


@pytest.mark.slow
def test_a_parser_that_reads_boxes_in_boxes_again_and_again_is_found(tmp_path, monkeypatch):
    def slow(said):
        for match in re.finditer(r"\\boxed", said):
            said[match.end() :].split("{")

    monkeypatch.setattr(fuzzing, "HANG", 1.0)
    monkeypatch.setattr(fuzz_targets, "FRAGMENTS", ("\\boxed{",))
    monkeypatch.setattr(fuzz_targets, "PARSERS", {"slow": slow})
    assert any("Hang" in failure for failure in found_by("repeated", tmp_path, 3))


def test_the_table_says_what_was_found_and_the_exit_status_too(tmp_path, monkeypatch, capsys):
    out = tmp_path / "fuzz.json"
    monkeypatch.setattr("sys.argv", ["fuzzing.py", "--cases", "55", "--json", str(out)])
    monkeypatch.setattr(fuzz_targets, "read_number", lambda _: 1 / 0)
    with pytest.raises(SystemExit) as ended:
        fuzzing.main()
    assert ended.value.code == 1
    assert "ZeroDivisionError" in capsys.readouterr().out
    told = json.loads(out.read_text())
    assert told["cases"] >= 55
    assert len(told["targets"]["read"]["failures"]) == told["targets"]["read"]["cases"]
