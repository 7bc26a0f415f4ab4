"""Segmentation of GSM8K's real solutions against their calculator marks, and of text that is made to be slow."""

import importlib
import time
from fractions import Fraction
from pathlib import Path

import pytest

from spancredit.text.segment import PIECES

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data" / "gsm8k"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"the real GSM8K is not at {DATA}")


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module


@pytest.mark.parametrize(
    ("solution", "form", "equation"),
    [
        ("Natalia sold 48/2 = <<48/2=24>>24 clips.", "as written", "48/2 = 24"),
        ("It is $12/60 = $<<12/60=0.2>>0.2 each.", "as written", "12/60 = $0.2"),
        ("2 apples*3=<<2*3=6>>6", "as written", "2 apples*3=6"),
        ("A 1,000 - 10 = <<1000-10=990>>990.", "as written", "1,000 - 10 = 990"),
        ("It was 30% of $50 = <<50*30/100=15>>15.", "rewritten", "50 = 15"),
        ("So x = <<5=5>>5.", "rewritten", "x = 5"),
        ("Half of 4 is <<4/2=2>>2.", "no equation", "2"),
        ("5\n+ 3 = <<5+3=8>>8", "rewritten", "3 = 8"),
    ],
)
def test_a_mark_is_taken_out_and_its_equation_found(script, solution, form, equation):
    text, (mark,) = script("gsm8k_marks").read_marks(solution)
    assert "<<" not in text
    assert (mark.form, text[mark.start : mark.end]) == (form, equation)


@pytest.mark.parametrize(
    ("piece", "true"),
    [
        ("3 apples x 4 = 12", True),
        ("$1,200 - 20% * 50 = 1190", True),
        ("10/3 = 3.33", True),
        ("3 + 4 = 8", False),
        ("2 + 2 = 4 = 5", False),
        ("2x = 10", None),
        ("3 + 4", None),
        ("9**9**9 = 1", None),
        ("1/0 = 1", None),
    ],
)
def test_an_equation_of_plain_numbers_is_worked_out(script, piece, true):
    assert script("gsm8k_marks").worked_out(piece) is true


def test_what_is_missed_and_what_is_called_too_much_is_counted(script, monkeypatch):
    spans = script("gsm8k_spans")
    monkeypatch.setattr(spans, "steps", lambda text: [(0, 5, "calculation"), (5, len(text), "text")])
    totals = spans.count(["We do 1+1=<<1+1=2>>2. Rest.", "2*2 = <<2*2=4>>4"]).totals
    assert totals["mark, as written, missed"] == 2
    assert totals["span, no equals sign"] == 1
    assert totals["span, marked"] == 1
    assert totals["characters, both"] == 2
    assert spans.summary(totals)["recall, characters"] == pytest.approx(float(Fraction(2, 6)))
    assert totals["tile"] == 2


@needs_data
@pytest.mark.parametrize("name", ["test.jsonl", pytest.param("train.jsonl", marks=pytest.mark.slow)])
def test_calculations_hold_the_equations_of_gsm8k_and_little_else(script, name):
    spans = script("gsm8k_spans")
    totals = spans.count(spans.read_solutions(DATA / name)).totals
    found = spans.summary(totals)
    assert totals["solutions"] == totals["tile"] == {"test.jsonl": 1319, "train.jsonl": 7473}[name]
    assert totals["prose, called a calculation"] == 0
    assert totals["prose, text"] > 100
    assert found["recall, equations"] > 0.997
    assert found["recall, characters"] > 0.994
    assert found["precision, spans, any equation"] > 0.994
    assert found["precision, spans, marked"] > 0.9
    assert found["precision, characters, marked"] > 0.885
    assert found["precision, characters, in marked spans"] > 0.975


@pytest.mark.slow
@pytest.mark.parametrize("end", ["", "\n= 3"])
def test_100_kb_of_adversarial_text_are_cut_in_linear_time(script, end):
    """A fifth of a second each; quadratic matching takes minutes."""
    speed = script("segment_speed")
    for name, pattern in speed.PATTERNS.items():
        text = speed.long_text(pattern, 100_000) + end
        for segmenter, cut in PIECES.items():
            start = time.process_time()
            pieces = cut(text)
            assert time.process_time() - start < 5, (name, segmenter)
            assert (pieces[0][0], pieces[-1][1]) == (0, len(text))
