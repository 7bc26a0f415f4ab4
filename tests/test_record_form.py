"""Records that a view could not take are one sentence, and what views say of one record is the same everywhere."""

import io
import json
import re
import warnings

import pytest
from input_for_tests import assert_one_sentence
from pages_for_tests import record
from rich.console import Console
from test_hostile_text import TERMINAL, acting

import spancredit as sc
from spancredit.commands.report import report
from spancredit.report.explainpage import explain_page
from spancredit.report.figures import PALETTE, learning_curve, save, svg
from spancredit.report.form import of_record
from spancredit.report.html import page
from spancredit.report.records import right_of
from spancredit.report.runfolder import RunFolder
from spancredit.report.summary import summary
from spancredit.report.terminal import explanation
from spancredit.report.visible import visible
from spancredit.report.words import notes_of, rows_of
from spancredit.study.figures import importance, phases

DATA = re.compile(r'<script type="application/json" id="data">(.*?)</script>', re.DOTALL)


def without(name):
    made = record()
    del made[name]
    return made


def with_span(**changes):
    made = record()
    made["spans"][1] |= changes
    return made


PLACE = {"kind": "answer", "text": "5"}
WRONG = {
    "no spans": ({"schema": 1, "step": 1}, "no prompt"),
    "an answer out of range": (record(answer={"start": 4, "end": 5, **PLACE}), "an answer from 4 to 5"),
    "an answer before the first": (record(answer={"start": -1, "end": 1, **PLACE}), "an answer from -1 to 1"),
    "an answer of nothing": (record(answer={"start": 2, "end": 2, **PLACE}), "an answer from 2 to 2"),
    "an answer that is none": (record(answer=[]), "answer []"),
    "a weight that is a text": (record(token_weights=[1.0, "2", 1.0, 1.0]), "token_weights [1.0, '2', 1.0, 1.0]"),
    "a weight that is true": (record(token_weights=[1.0, True, 1.0, 1.0]), "token_weights"),
    "a weight that is infinite": (record(token_weights=[1.0, float("inf"), 1.0, 1.0]), "token_weights"),
    "a weight too few": (record(token_weights=[1.0]), "1 token_weights for 4 tokens"),
    "an advantage that is a text": (record(advantage="x"), "advantage 'x'"),
    "a reward that is no float": (record(reward=10**400), "reward 1000"),
    "a reason that is a number": (record(reason=3), "reason 3"),
    "a verdict that is a number": (record(right=1), "right 1"),
    "a probe without a reply": (record(probe={"suffix": "f(1)"}), "probe {'suffix': 'f(1)'}"),
    "a cost without forwards": (record(cost={"tokens": 1}), "cost {'tokens': 1}"),
    "a token that is a number": (record(tokens=["a", 1, "b", "c"]), "tokens ['a', 1, 'b', 'c']"),
    "a span out of range": (with_span(end=9), "a span from 1 to 9"),
    "a span without a kind": (with_span(kind=None), "a span without kind or text"),
    "a span with a drop in words": (with_span(drop="much"), "a span whose drop, importance or weight is no number"),
    "no answer": (without("answer"), "no answer"),
    "no reward": (without("reward"), "no reward"),
}


def run_with(tmp_path, lines, name="records.jsonl"):
    folder = RunFolder.create(tmp_path / "run", [], None, seed=0)
    (folder.path / name).write_text("".join(f"{line}\n" for line in lines))
    return folder


@pytest.mark.parametrize("name", WRONG)
def test_a_record_of_another_form_is_one_sentence_for_every_view(tmp_path, name):
    wrong, said = WRONG[name]
    folder = run_with(tmp_path, [json.dumps(record()), json.dumps(wrong)])
    for view in (lambda: report(folder.path, None), lambda: summary(folder)):
        with pytest.raises(sc.RecordError) as caught:
            view()
        assert f"records.jsonl line 2 has {said}" in str(caught.value)
        assert_one_sentence(str(caught.value))


@pytest.mark.parametrize(
    ("name", "row", "said"),
    [
        ("metrics.jsonl", {"step": 1, "reward": "x"}, "line 1 has reward 'x'; expected a finite number or null"),
        ("metrics.jsonl", {"step": 1, "credit/drop/text": [1]}, "line 1 has credit/drop/text [1]"),
        ("held_out.jsonl", {"step": 1}, "line 1 has no accuracy; expected a finite number"),
        ("held_out.jsonl", {"step": 1, "accuracy": 0.5, "low": "x"}, "line 1 has low 'x'"),
        ("held_out.jsonl", {"step": 1, "accuracy": 0.5, "sampled": "x"}, "line 1 has sampled 'x'"),
    ],
)
def test_so_is_any_other_row_of_a_run(tmp_path, name, row, said):
    with pytest.raises(sc.RecordError, match=re.escape(said)):
        report(run_with(tmp_path, [json.dumps(row)], name).path, None)


def test_what_was_no_finite_number_when_it_was_written_is_shown_as_none(tmp_path):
    made = with_span(drop=None, importance=None, weight=None)
    assert list(of_record(made)) == []
    folder = run_with(tmp_path, [json.dumps(made)])
    assert report(folder.path, None).exists()
    assert rows_of(made)[1] == ("calculation", "", "", "", "2 + 3 = 5")
    Console(file=io.StringIO()).print(explanation(made))


def test_a_record_of_before_0_1_0_is_shown_as_it_was():
    for old, right in ((record(reward=0.4), True), (record(reward=0.0), False), (record(reward=None), None)):
        assert "right" not in old
        assert right_of(old) is right


@pytest.mark.parametrize(("right", "words"), [(False, "The answer is wrong."), (True, "The answer is right.")])
def test_the_verdict_is_the_judges_and_not_the_reward(tmp_path, right, words):
    """A reward of 0.4 can be a wrong answer that is short, or a program that passes some tests."""
    made = record(reward=0.4, right=right)
    folder = run_with(tmp_path, [json.dumps(made)])
    (shown,) = json.loads(DATA.search(page("t", "f", [], {"": [made]}))[1])
    assert shown["right"] is right
    assert words in notes_of(made)
    out = io.StringIO()
    console = Console(file=out, width=200)
    console.print(explanation(made))
    console.print(summary(folder))
    assert words in out.getvalue()
    assert ("A right completion of step 1" in out.getvalue()) is right


def test_terminal_and_page_say_the_same():
    made = record(right=True, answer_logp=-0.25, reason="uniform", cost={"tokens": 10, "forwards": 2, "runs": 3})
    out = io.StringIO()
    Console(file=out, width=200).print(explanation(made))
    html = explain_page(made, "t", "f")
    assert len(notes_of(made)) == 4
    for note in notes_of(made):
        assert note in out.getvalue()
        assert f"<p>{note}</p>" in html
    for row in rows_of(made):
        assert all(cell in out.getvalue() for cell in row)
        assert "".join(f"<td>{cell}</td>" for cell in row) in html


@pytest.mark.parametrize("reason", TERMINAL.values(), ids=TERMINAL)
def test_a_reason_that_acts_is_text_on_page_and_terminal(reason):
    made = record(reason=reason)
    (shown,) = json.loads(DATA.search(page("t", "f", [], {"": [made]}))[1])
    assert acting(shown["reason"]) == set()
    out = io.StringIO()
    Console(file=out, width=200).print(explanation(made))
    assert acting(out.getvalue()) == set()
    assert acting(explain_page(made, "t", "f")) == set()


def test_every_kind_of_span_has_a_line_of_its_own():
    kinds = [f"credit/drop/code:{kind}" for kind in "ABCDEFGHIJKLM"]
    figure = learning_curve([{"step": step, "reward": 0.5, **dict.fromkeys(kinds, 1.0)} for step in (1, 2)], [])
    lines = figure.axes[1].get_lines()
    assert len(lines) == len(kinds) > 2 * len(PALETTE)
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == len(kinds)


def test_a_kind_of_span_is_a_label_whatever_stands_in_it(tmp_path):
    kinds = ["$x", r"$\frac$", "a$b$c", r"\$x$", "_x", "\x1b[31m", "x\ry"]
    rows = [{"step": step, "reward": 0.5, **{f"credit/drop/{kind}": 1.0 for kind in kinds}} for step in (1, 2)]
    drawn = {"run": learning_curve(rows, []), "study": importance(dict.fromkeys(kinds, rows))}
    drawn["time"] = phases(dict.fromkeys(kinds, TIMED))
    for name, figure in drawn.items():
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            save(figure, tmp_path / f"{name}.png")
            text = svg(figure)
        assert acting(text) == set()
        for kind in kinds:
            assert f"{visible(kind)} -->" in text, "what is drawn stands beside its shapes"
    legends = [legend for figure in (drawn["run"], drawn["study"]) for legend in figure.legends]
    assert [len(legend.get_texts()) for legend in legends] == [len(kinds), len(kinds)]


TIMED = [{"step": 1, "step_time": 4.0, "generation/seconds": 1.5}]
