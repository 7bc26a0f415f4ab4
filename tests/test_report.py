"""The HTML page in a browser: it filters, it says what a span earned, and nothing that a model wrote runs."""

import json

import pytest
from pages_for_tests import browser_only, opened, record

import spancredit as sc
from spancredit.commands.report import report
from spancredit.errors import RunFolderError
from spancredit.report.html import MOST_ROLLOUTS, Section, page
from spancredit.report.lines import append_lines
from spancredit.report.runfolder import RunFolder
from spancredit.report.runpage import EXCHANGES, run_page
from spancredit.report.visible import visible

HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"> \ud800 \u2028"


@pytest.mark.slow
@browser_only
def test_filters_hover_and_more_in_the_browser(browser, tmp_path):
    records = {
        "counterfactual": [record(step, float(step % 2)) for step in range(1, 31)],
        "uniform": [record(step, reason="uniform", spans=[], token_weights=[1.0] * 4) for step in range(1, 11)],
    }
    sections = [Section("a", "A table", header=("x", "y"), rows=[("1", "2")])]
    tab, said = opened(browser, tmp_path, page("A <study>", "facts", sections, records))
    assert tab.title() == "A <study>"
    assert tab.inner_text("h1") == "A <study>"
    cards, count = tab.locator("#list li"), tab.locator("#count")
    assert count.inner_text() == "40 of 40 rollouts, 20 shown"
    tab.click("#more")
    assert cards.count() == 40
    assert tab.locator("#more").is_hidden()
    tab.select_option("[name=arm]", "counterfactual")
    tab.select_option("[name=right]", "wrong")
    assert count.inner_text() == "15 of 40 rollouts, 15 shown"
    tab.fill("[name=from]", "10")
    tab.fill("[name=to]", "12")
    assert count.inner_text() == "2 of 40 rollouts, 2 shown"
    assert "step 10" in cards.first.inner_text()
    tab.fill("[name=text]", "nothing like it")
    assert count.inner_text() == "0 of 40 rollouts, 0 shown"
    tab.fill("[name=text]", "")
    tab.locator(".completion .in").nth(1).hover()
    assert tab.inner_text("#hint") == "calculation, drop (nats) +3.250, importance 1.00, weight 2.50"
    strong, weak = (
        tab.locator(".completion .in").nth(i).evaluate("piece => getComputedStyle(piece).backgroundColor")
        for i in (1, 0)
    )
    assert strong.startswith("rgba(214, 118, 22")
    assert weak.startswith("rgba(38, 110, 200")
    for name in ("arm", "right", "from", "to"):
        tab.evaluate(f"document.forms[0].elements['{name}'].value = ''")
    tab.select_option("[name=reason]", "uniform")
    assert count.inner_text() == "10 of 40 rollouts, 10 shown"
    assert said == []


@pytest.mark.slow
@browser_only
def test_what_a_model_wrote_is_text(browser, tmp_path):
    tokens = (HOSTILE, " 2 + 3 = 5", "\n####", " 5")
    html = page(HOSTILE[:20], "<b>facts</b>", [], {"<i>arm</i>": [record(text=tokens, prompt=HOSTILE)]})
    tab, said = opened(browser, tmp_path, html)
    assert "owned" not in tab.title()
    assert visible(HOSTILE) in tab.locator(".completion").inner_text()
    assert tab.locator("img, b, i").count() == 0
    assert said == []
    tab.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = 1'}))"
    )
    assert tab.evaluate("window.ran") is None, "the policy of the page lets no other script run"


def test_the_page_keeps_to_a_size():
    many = [record(step) for step in range(5000)]
    html = page("t", "f", [], {"a": many, "b": many})
    data = json.loads(html.split('id="data">')[1].split("</script>")[0])
    assert len(data) == MOST_ROLLOUTS
    assert len(html) < 1_000_000
    assert {0, 4999} <= {one["step"] for one in data}


def test_the_page_of_a_run_says_what_was_asked_and_not_where_it_lay(tmp_path):
    folder = RunFolder.create(tmp_path / "one", [], None, 3)
    assert "What was asked" not in run_page(folder), "it was killed before its first step"
    asked = {"task": "code", "credit_mode": "random", "learning_rate": 2e-4, "beta": None}
    asked |= {"outcome": "execution", "credit_scorer": "packed"}
    (folder.path / "config.json").write_text(json.dumps(asked | {"model_name_or_path": "/home/me/secret/model"}))
    row = {"step": 1, "reward": 0.5, "credit/drop/code:If": 0.0, "credit/method/exchange": 1.0}
    append_lines(folder.metrics, [row])
    html = run_page(folder)
    assert "code, random, seed 3; " in html
    assert "<tr><td>learning_rate</td><td>0.0002</td></tr>" in html
    assert "<tr><td>model_name_or_path</td><td>model</td></tr>" in html
    assert "beta" not in html
    assert "packed" not in html, "no forward was made"
    assert "secret" not in html
    assert EXCHANGES in html
    (folder.path / "config.json").write_text("[]")
    with pytest.raises(RunFolderError, match=r"config\.json is no JSON object; expected the settings"):
        run_page(folder)


def test_a_folder_that_is_neither_run_nor_study_is_refused(tmp_path):
    with pytest.raises(RunFolderError, match="neither a run nor a study"):
        report(tmp_path, None)
    with pytest.raises(RunFolderError, match="and no folder"):
        report(tmp_path, tmp_path)
    with pytest.raises(RunFolderError, match="folder that exists"):
        report(tmp_path, tmp_path / "none" / "page.html")
    with pytest.raises(RunFolderError, match="none does not exist"):
        report(tmp_path / "none", None)
    assert issubclass(RunFolderError, sc.SpanCreditError)
