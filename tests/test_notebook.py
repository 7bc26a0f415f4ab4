"""How a notebook shows a credit: shaded spans with their numbers; whatever a model wrote is text."""

import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from input_for_tests import own, read
from test_hostile_text import HOSTILE, TERMINAL, acting
from toy_models import chat, random_toy

import spancredit as sc
from spancredit.report.visible import visible


class Page(HTMLParser):
    """Every element with its attributes, and the text between them."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.text = [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)


def credit_of(text, kind="calculation", **changes):
    spans = (
        sc.SpanCredit(0, 1, "text", text, drop=-0.01, importance=0.0, weight=0.5),
        sc.SpanCredit(1, 2, kind, text, drop=3.25, importance=1.0, weight=2.5),
    )
    made = {"spans": spans, "answer": sc.Span(3, 4, "answer", text), "answer_logp": -0.125, "cost": sc.Cost(10, 2)}
    return sc.Credit(torch.tensor([0.5, 2.5, 1.0, 1.5]), **{**made, **changes})


def test_spans_and_answer_are_shaded_by_weight_and_say_what_was_measured():
    page = Page(credit_of("2 + 3 = 5")._repr_html_())
    spans = [attributes for tag, attributes in page.elements if tag == "span"]
    assert [one["title"] for one in spans] == [
        "text, drop -0.010, importance 0.00, weight 0.50",
        "calculation, drop +3.250, importance 1.00, weight 2.50",
        "answer, weight 1.50",
    ]
    assert len({one["style"] for one in spans}) == 3
    assert page.text[:4] == [*["2 + 3 = 5"] * 2, " … ", "2 + 3 = 5"], "the marker before the answer has no text"
    assert page.text[4] == "log-probability of the answer: -0.125 nats; 2 forwards, 10 tokens"


@pytest.mark.parametrize("text", [*HOSTILE.values(), *TERMINAL.values()], ids=[*HOSTILE, *TERMINAL])
def test_what_a_model_wrote_is_text(text):
    html = credit_of(text, kind=text)._repr_html_()
    page = Page(html)
    assert [tag for tag, _ in page.elements] == ["div", "span", "span", "i", "span", "div"]
    assert all(attributes.keys() <= {"style", "title"} for _, attributes in page.elements)
    assert page.text[:4] == [*[visible(text)] * 2, " … ", visible(text)]
    assert acting(html) == set()


def test_real_ones_are_shown_whole_uniform_ones_with_their_reason():
    credit = read(chat("so 2 + 3 = 5.\n#### 5"))
    page = Page(credit._repr_html_())
    shown = [piece for piece in page.text if piece != " … "]
    assert "".join(shown[: len(credit.spans)]) == "".join(visible(span.text) for span in credit.spans)
    page = Page(read(chat("no answer here"))._repr_html_())
    assert page.text == ["every weight is 1: no answer was found in the completion"]


def test_without_a_tokenizer_ranges_stand_for_the_text():
    (credit,) = own(random_toy())
    assert Page(credit._repr_html_()).text[:4] == ["[0:2]", "[2:4]", " … ", "[5:6]"]


CELLS = [
    """
import spancredit as sc
from spancredit.models import load_policy

model, tokenizer = load_policy("bundled")
asked, said = ("Question: Ana has 2 eggs and finds 3.\\nSolution:", " Ana has 2 + 3 = 5 eggs.\\n#### 5")
rollout = sc.Rollout(tokenizer(asked)["input_ids"], tokenizer(said)["input_ids"], advantage=1.0)
(credit,) = sc.assign_credit(model, tokenizer, [rollout])
credit
""",
    """
from rich.console import Console
from spancredit.report.progress import RunProgress

progress = RunProgress(Console())
with progress.running():
    progress.expect(2)
    for step in (1, 10):
        shown = {"step": step, "reward": 0.5, "credit/time_share": 0.25, "credit/drop/<b>x": 1.5}
        progress.log(shown)
    progress.held_out(10, "50.0 %")
""",
]


@pytest.fixture
def outputs(tmp_path, monkeypatch):
    """What a notebook's cells show, run by a kernel of its own whose files are in a folder of the test's."""
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed: pip install 'spancredit[dev]'")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed: pip install 'spancredit[dev]'")
    nbformat = pytest.importorskip("nbformat")
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.setenv("PYTHONPATH", str(Path(sc.__file__).parents[1]))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    return [[one for one in cell.outputs if "data" in one] for cell in notebook.cells]


@pytest.mark.slow
def test_in_a_notebook_a_credit_is_coloured_and_a_run_is_lines(outputs):
    credit, run = outputs
    page = Page(credit[-1]["data"]["text/html"])
    assert page.text[:3] == [" Ana has ", "2 + 3 = 5", " eggs.\n"]
    assert [tag for tag, _ in page.elements] == ["div", *["span"] * 3, "i", "span", "div"]
    assert "1 forward, " in page.text[-1]
    lines = [line for one in run for line in one["data"]["text/plain"].splitlines()]
    assert lines == [
        "step    1  reward 0.500  drop <b>x 1.50  credit 25% of the step",
        "step   10  reward 0.500  drop <b>x 1.50  credit 25% of the step",
        "step   10  held-out accuracy 50.0 %",
    ]
    assert all([tag for tag, _ in Page(one["data"]["text/html"]).elements] == ["pre"] for one in run)


@pytest.mark.slow
def test_values_know_no_view_until_one_is_asked():
    script = "import sys, spancredit; assert not [m for m in sys.modules if m.startswith('spancredit.report')]"
    subprocess.run([sys.executable, "-c", script], check=True)
