"""`spancredit explain`: prompts, problems and completions, the record, the page, and what it says on a terminal."""

import html
import io
import json
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from input_for_tests import assert_one_sentence
from rich.console import Console
from typer.testing import CliRunner

from spancredit import cli
from spancredit.commands import explain_rollout
from spancredit.errors import SpanCreditError
from spancredit.models import load_policy
from spancredit.report.explainpage import explain_page
from spancredit.report.explainprogress import ExplainProgress

PROMPT, COMPLETION = "Question: Ana has 2 eggs. Then Ana finds 3 more.\nSolution:", " Ana has 2 + 3 = 5 eggs.\n#### 5"
LINES = [
    {"question": "Ana has 2 eggs and finds 3.", "answer": "Ana has 2+3=<<2+3=5>>5 eggs.\n#### 5"},
    {"question": "Ben has 9 pens and loses 4.", "answer": "Ben has 9-4=<<9-4=5>>5 pens.\nThat is 5.\n#### 5"},
]
CHAT = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}\n{% endfor %}{% if add_generation_prompt %}<|a|>{% endif %}"
)


def explain(*arguments: object) -> str:
    """What it prints; its error is raised."""
    result = CliRunner().invoke(cli.app, ["explain", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def record_of(*arguments: object) -> dict:
    return json.loads(explain(*arguments, "--json"))


def refusal(*arguments: object) -> str:
    with pytest.raises(SpanCreditError) as error:
        explain(*arguments)
    assert_one_sentence(str(error.value))
    return str(error.value)


@pytest.fixture
def dataset(tmp_path) -> Path:
    file = tmp_path / "problems.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in LINES))
    return file


@pytest.fixture
def chat_model(tmp_path) -> Path:
    """The bundled policy with a chat template."""
    model, tokenizer = load_policy("bundled")
    tokenizer.chat_template = CHAT
    model.save_pretrained(tmp_path / "chat")
    tokenizer.save_pretrained(tmp_path / "chat")
    return tmp_path / "chat"


def test_a_problem_with_its_own_solution(dataset):
    record = record_of("--task", "gsm8k", "--dataset", dataset, "--problem", 1, "--gold")
    assert record["prompt"].endswith("Question: Ben has 9 pens and loses 4.\nAnswer:")
    assert "".join(record["tokens"]) == " Ben has 9-4=5 pens.\nThat is 5.\n#### 5"
    assert [span["text"].strip() for span in record["spans"] if span["kind"] == "calculation"] == ["9-4=5"]
    assert record["answer"]["text"].strip() == "5"
    assert record["reward"] is None


def test_a_sampled_completion_is_judged_and_ends_before_the_next_question(dataset, monkeypatch):
    model, tokenizer = load_policy("bundled")
    said = tokenizer(" 9-4=5 #### 5\nQuestion: Now", add_special_tokens=False)["input_ids"]

    def load(name, dtype):
        import torch

        model.generate = lambda input_ids, **_: torch.cat([input_ids, torch.tensor([said])], 1)
        return model, tokenizer

    monkeypatch.setattr(explain_rollout, "load_policy", load)
    record = record_of("--task", "gsm8k", "--dataset", dataset, "--problem", 1)
    assert "".join(record["tokens"]) == " 9-4=5 #### 5"
    assert record["reward"] == 1.0
    assert record_of("--task", "gsm8k", "--dataset", dataset, "--problem", 0)["reward"] == 1.0
    said[:] = tokenizer(" 9-4=6 #### 6", add_special_tokens=False)["input_ids"]
    assert "The answer is wrong." in explain("--task", "gsm8k", "--dataset", dataset)
    assert record_of("--task", "gsm8k", "--dataset", dataset, "--mode", "blame")["method"] == "blame"


def test_without_a_task_it_is_the_first_held_out_word_problem():
    first, second = record_of("--gold"), record_of("--gold", "--problem", 1)
    assert first["prompt"] != second["prompt"]
    assert first["answer"] is not None
    assert record_of("--seed", 3) == record_of("--seed", 3)


@pytest.mark.parametrize("difficulty", [[], ["--difficulty", "hard"]])
def test_a_problem_has_the_number_that_eval_gives_it(difficulty, tmp_path):
    arguments = ["eval", *difficulty, "--problems", "2", "--max_new_tokens", "1", "--output_dir", str(tmp_path / "e")]
    assert CliRunner().invoke(cli.app, arguments).exit_code == 0
    rows = [json.loads(line) for line in (tmp_path / "e" / "problems.jsonl").read_text().splitlines()]
    for number in (0, 1):
        for task in ([], ["--task", "wordproblems"]):
            record = record_of(*task, *difficulty, "--problem", number, "--gold")
            assert record["answer"]["text"].strip() == rows[number]["answer"]


def test_a_chat(chat_model, dataset):
    asked = record_of("--model", chat_model, "How many?", COMPLETION, "--prompt_style", "chat")
    assert asked["prompt"] == "<|user|>How many?\n<|a|>"
    plain = record_of("--model", chat_model, "How many?", COMPLETION)
    assert plain["prompt"].endswith("How many?")
    assert "<|" not in plain["prompt"]
    problem = record_of("--model", chat_model, "--task", "gsm8k", "--dataset", dataset, "--gold")
    assert problem["prompt"].startswith("<|user|>Ana has 2 eggs and finds 3.\n")
    assert "".join(problem["tokens"]).startswith("Ana has 2+3=5")


def test_the_page_stands_alone(tmp_path, dataset):
    hostile = "</script><script>document.title='owned'</script> 2 + 3 = 5\n#### 5"
    explain(PROMPT, hostile, "--html", tmp_path / "x.html", "--svg", tmp_path / "x.svg")
    page = (tmp_path / "x.html").read_text()
    assert "http://" not in page
    assert "https://" not in page
    assert "src=" not in page
    assert "</script><script>document" not in page
    assert "<td>calculation</td>" in page
    assert "drop (nats)" in page
    assert (tmp_path / "x.svg").read_text().startswith("<svg")


def test_the_page_says_why_there_is_no_credit():
    record = record_of(PROMPT, " Nothing is found here.")
    page = explain_page(record, "title", "facts")
    assert "Every weight is 1: no answer was found in the completion." in page


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no chromium on the path")
def test_the_page_in_a_browser(tmp_path):
    playwright = pytest.importorskip("playwright.sync_api")
    record = record_of(PROMPT, COMPLETION)
    (tmp_path / "x.html").write_text(explain_page(record, "title", "facts"))
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        tab, said = browser.new_context(offline=True).new_page(), []
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.goto((tmp_path / "x.html").as_uri())
        assert tab.locator("#list li").count() == 1
        assert tab.locator("#list .head").inner_text() == ""
        assert tab.locator("#filters").is_hidden()
        assert tab.locator("#spans tbody tr").count() == len(record["spans"]) + 1
        tab.locator(".completion .in", has_text="+").hover()
        assert tab.inner_text("#hint").startswith("calculation, drop (nats) ")
        browser.close()
    assert said == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["x", "--gold"], "--gold is for a problem of a task, and a prompt is given"),
        (["x", "--difficulty", "easy"], "--difficulty is for a problem of a task"),
        (["--difficulty", "eazy"], "unknown difficulty 'eazy'"),
        (["x", "--problem", "0"], "--problem is for a problem of a task"),
        (["x", "--task", "gsm8k"], "--task is for a problem of a task"),
        (["--problem", "-1"], "--problem is -1; expected at least 0"),
        (["--problem", "2", "--task", "gsm8k"], "--problem is 2; expected less than 2"),
        (["--task", "gsm9k"], "unknown task 'gsm9k'"),
        (["--task", "gsm8k", "--few_shot", "2"], "--dataset one file"),
        (["--split", "test"], "unknown split 'test'"),
        (["x", "--prompt_style", "chat"], "the model has no chat template"),
        (["x", "--max_new_tokens", "0"], "--max_new_tokens is 0"),
        (["x", "--dtype", "int3"], "unknown dtype 'int3'"),
        (["x", "y", "--html", "/nowhere/x.html"], "expected a file in a folder that exists"),
        (["x", "y", "--svg", "/"], "and no folder"),
    ],
)
def test_what_is_wrong_is_one_sentence(arguments, said, dataset):
    if "gsm8k" in arguments and "x" not in arguments:
        arguments = [*arguments, "--dataset", dataset]
    assert said in refusal(*arguments)


def test_progress_counts_the_forwards_of_a_step(policy):
    file = io.StringIO()
    model, tokenizer = policy
    with ExplainProgress(Console(file=file, force_terminal=True, width=80)) as progress:
        with progress.step("scoring", model, "forward"):
            for _ in range(3):
                model(**tokenizer("2 + 3", return_tensors="pt"))
        progress.bar.refresh()
        assert progress.bar.tasks[0].description == "scoring, forward 3"
        model(**tokenizer("2 + 3", return_tensors="pt"))
        assert progress.bar.tasks[0].description == "scoring, forward 3"
    assert not model._forward_pre_hooks
    quiet = io.StringIO()
    with ExplainProgress(Console(file=quiet)) as progress, progress.step("loading"):
        pass
    assert quiet.getvalue() == ""


@pytest.mark.slow
def test_on_a_terminal_progress_goes_to_standard_error_and_json_stays_pure():
    terminal, there = pty.openpty()
    command = [sys.executable, "-m", "spancredit", "explain", PROMPT, "--json"]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=there, env={**os.environ, "TERM": "xterm"})
    os.close(there)
    shown = b""
    try:
        while chunk := os.read(terminal, 4096):
            shown += chunk
    except OSError:  # the other end is closed
        pass
    assert started.stdout is not None
    assert json.loads(started.stdout.read())["schema"] == 1
    assert started.wait() == 0
    assert b"loading bundled" in shown
    assert b"sampling, token" in shown


def test_what_a_probe_asks_and_wants_to_hear_is_shown(tmp_path):
    page = tmp_path / "probe.html"
    shown = explain("--task", "code", "--problem", "3", "--gold", "--outcome", "probe", "--html", page)
    (found,) = re.findall(r"The answer is what follows ['\"](>>> letters\(.*?\))['\"]: ", " ".join(shown.split()))
    assert found in html.unescape(page.read_text())
    assert '<p class="facts">probe, ' in page.read_text()
