"""The reference pages are the code's: tables as they are now, and every metric that training logs is explained."""

import importlib.util
import json
import re
import sys
from dataclasses import fields

import pytest
from markdown_blocks import ROOT, pages
from transformers import Trainer

import spancredit as sc
from spancredit.commands.train import train
from spancredit.report.glossary import METRICS, NAMED, Metric
from spancredit.report.lines import read_lines
from spancredit.study.plan import Plan

sys.path.insert(0, str(ROOT / "docs" / "site"))
import reference

METRICS_PAGE = ROOT / "docs" / "reference" / "metrics.md"
TRLS = METRICS_PAGE.read_text(encoding="utf-8").split("## TRL's own\n")[1]
SMALL = [
    *("--per_device_train_batch_size", "16", "--num_generations", "4", "--max_completion_length", "40"),
    *("--held_out_problems", "2", "--held_out_steps", "0", "--train_problems", "64", "--save_strategy", "no"),
]
RUNS = {  # between them they log all there is, but for what is named below
    "everything": (
        *("--difficulty", "easy", "--max_steps", "3", "--dynamic_sampling_rounds", "1", "--step_advantages", "group"),
        *("--credit_budget", "0.5", "--beta", "0.01", "--held_out_sampled", "true"),
    ),
    "blame": ("--difficulty", "easy", "--max_steps", "1", "--credit_mode", "blame"),
    "code": ("--task", "code", "--max_steps", "1"),
    "math_verify": ("--task", "gsm8k", "--answer_check", "math_verify", "--max_steps", "1", "--dataset"),
}
FREE = ("KIND", "METHOD")  # places that anything may stand in: kinds come from segmenters, methods from measuring
RARE = {"credit/agreement", "credit/halved"}  # a rollout in many is checked; memory runs out


@pytest.fixture(scope="module")
def logged(tmp_path_factory) -> dict[str, set[str]]:
    """The names that each run logs, in its folder or for trackers alone."""
    log, told = Trainer.log, set()

    def heard(trainer, logs, *given):
        told.update(name for name in logs if name.startswith("held_out/"))
        log(trainer, logs, *given)

    folder = tmp_path_factory.mktemp("runs")
    problem = {"question": "Ann has 3 eggs and buys 4.", "answer": "3+4 = <<3+4=7>>7\n#### 7"}
    (folder / "gsm8k").mkdir()
    for split in ("train", "test"):
        rows = [problem | {"question": f"{problem['question']} Day {day}."} for day in range(64)]
        (folder / "gsm8k" / f"{split}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    found = {}
    for name, flags in RUNS.items():
        if name == "math_verify" and importlib.util.find_spec("math_verify") is None:
            continue
        given = [*flags, *([str(folder / "gsm8k")] if name == "math_verify" else [])]
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(Trainer, "log", heard)
                run = train([*SMALL, *given, "--output_dir", str(folder / name)])
        except sc.SpanCreditError as error:
            if name == "code" and "sandbox" in str(error):
                continue
            raise
        found[name] = {key for row in read_lines(run.metrics) for key in row} - {"step"} | told
    return found


@pytest.mark.slow
def test_every_metric_that_training_logs_is_explained(logged):
    names = set().union(*logged.values())
    assert len(names) > 40
    assert sorted(name for name in names if metric_of(name) is None and not of_trl(name)) == []


@pytest.mark.slow
def test_every_metric_that_is_explained_is_logged(logged):
    if logged.keys() != RUNS.keys():
        pytest.skip(f"not all of {sorted(RUNS)} can run here, so not all metrics can be seen: {sorted(logged)}")
    seen = {metric_of(name) for names in logged.values() for name in names}
    assert {metric.name for metric in METRICS if metric not in seen} - RARE == set()
    names = set().union(*logged.values())
    stale = [known for known in trl_names() if not any(matches(name, known) for name in names)]
    assert stale == []


@pytest.mark.parametrize("page", pages())
def test_tables_are_made_of_the_code_as_it_is(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    assert reference.with_tables(text) == text, "expected fresh tables: python docs/site/reference.py writes them"


def test_every_table_stands_on_a_page():
    texts = "".join((ROOT / page).read_text(encoding="utf-8") for page in pages())
    assert sorted(reference.PLACE.findall(texts)) == sorted(reference.TABLES)


def test_every_setting_says_what_it_is():
    tables = (reference.credit_settings(), reference.trainer_settings(), reference.task_settings())
    rows = [line for table in tables for line in table.splitlines()[2:]]
    assert len(rows) > 40
    for row in rows:
        name, _, _, what = (cell.strip() for cell in row.strip("|").replace("\\|", "").split(" | "))
        assert len(what) > 10, f"{name} has no help"


def test_every_key_of_a_studys_file_is_in_the_table_with_its_default():
    keys = {f.name for f in fields(Plan)}
    rows = [line.strip("| ").split(" | ") for line in reference.study().splitlines()[2:]]
    assert {name.strip("`") for name, _, _ in rows} == keys
    assert all(len(what) > 10 for _, _, what in rows)
    defaults = {name.strip("`"): default.strip("`") for name, default, _ in rows}
    assert (defaults["seeds"], defaults["measure"], defaults["reference"]) == ("[0, 1, 2, 3, 4]", "greedy", "uniform")
    assert defaults["arms"] == "[uniform, counterfactual, inverted, random]"


def test_the_commands_page_has_the_roots_own_options():
    root, _, rest = reference.TABLES["commands"]().partition("\n## spancredit eval\n")
    assert root.startswith("## spancredit\n")
    for option in ("--version", "--install-completion", "--show-completion"):
        assert f"| `{option}` |" in root, option
    assert "## spancredit compare\n" in rest
    assert "### spancredit bench scorers\n" in rest


def test_metric_of_takes_places_for_what_they_stand_for():
    assert metric_of("credit/scored").unit == "share"
    assert metric_of("credit/drop/code:Return").name == "credit/drop/KIND"
    assert metric_of("credit/unscored/no_answer").name == "credit/unscored/REASON"
    assert metric_of("code/passed").name == "code/STATUS"
    for unknown in (
        "credit/unscored/no_such_reason",
        "code/happy",
        "credit/drop",
        "credit/drop/",
        "credit/drop/a/b",
        "x",
    ):
        assert metric_of(unknown) is None, unknown


def test_every_public_name_is_on_the_page():
    page = (ROOT / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
    assert [name for name in sc.__all__ if f"### {name}\n" not in page and f"`{name}`" not in page] == []
    assert "- `advantage`: The rollout's advantage." in page, "arguments are read from docstrings"


def test_reasons_are_those_of_the_package():
    assert NAMED["REASON"] == tuple(sc.REASONS)
    text = METRICS_PAGE.read_text(encoding="utf-8")
    assert all(f"| `{reason}` | {what} |" in text for reason, what in sc.REASONS.items())


def metric_of(name: str) -> Metric | None:
    """The entry that a logged name belongs to; None if there is none."""
    return next((metric for metric in METRICS if belongs(name, metric.name)), None)


def belongs(name: str, known: str) -> bool:
    head, _, place = known.rpartition("/")
    if place not in NAMED and place not in FREE:
        return name == known
    value = name.removeprefix(f"{head}/")
    return value != name and (value in NAMED[place] if place in NAMED else bool(value) and "/" not in value)


def trl_names() -> list[str]:
    """The names in the table of TRL's own."""
    return [name for row in re.findall(r"^\| (`.*?) \|", TRLS, re.MULTILINE) for name in re.findall(r"`(.+?)`", row)]


def of_trl(name: str) -> bool:
    return any(matches(name, known) for known in trl_names())


def matches(name: str, known: str) -> bool:
    return re.fullmatch(re.escape(known).replace("NAME", r"[^/]+"), name) is not None
