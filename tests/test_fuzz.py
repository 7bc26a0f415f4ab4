"""The fuzzing finds nothing, and would find something: a planted error, a crash, a hang."""

import json
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
    assert [failure for n in range(100) if (failure := fuzzing.run_case(target, 1, n, tmp_path))] == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_nothing_is_found_by_a_hundred_thousand():
    found = fuzzing.fuzz(100_000, seed=0, seconds=600)
    assert [failure for one in found.values() for failure in one["failures"]] == []
    assert sum(one["cases"] for one in found.values()) >= 100_000, "they fit in ten minutes, five times over"


def found_by(target, tmp_path, cases=300):
    return [failure for n in range(cases) if (failure := fuzzing.run_case(target, 0, n, tmp_path))]


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


def test_a_hang_is_found_even_where_every_exception_is_caught(tmp_path, monkeypatch):
    def hangs(_):
        while True:
            with suppress(Exception):
                time.sleep(0.01)

    monkeypatch.setattr(fuzzing, "HANG", 0.2)
    monkeypatch.setattr(fuzz_targets, "final_number", hangs)
    assert "Hang: no end after 0.2 s" in fuzzing.run_case("read", 0, 0, tmp_path)


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
