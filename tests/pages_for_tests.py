"""A record to be shown, and a page in a browser that has no network."""

import shutil

import pytest

CHROMIUM = shutil.which("chromium")
browser_only = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on the path")


def span(start, kind, text, drop, importance, weight):
    measured = {"drop": drop, "importance": importance, "weight": weight}
    return {"start": start, "end": start + 1, "kind": kind, "text": text, **measured}


def record(step=1, reward=1.0, text=("Let me think.", " 2 + 3 = 5", "\n####", " 5"), **changes):
    made = {
        "schema": 1,
        "step": step,
        "prompt": "How many?",
        "tokens": list(text),
        "token_weights": [0.5, 2.5, 1.0, 1.5],
        "reward": reward,
        "advantage": 0.7 if reward else -0.7,
        "reason": None,
        "method": "exact",
        "answer": {"start": 3, "end": 4, "kind": "answer", "text": text[3]},
        "answer_logp": -0.1,
        "spans": [span(0, "text", text[0], -0.01, 0.0, 0.5), span(1, "calculation", text[1], 3.25, 1.0, 2.5)],
        "cost": {"tokens": 10, "forwards": 1, "fallbacks": 0},
    }
    return {**made, **changes}


def opened(browser, tmp_path, html):
    """The page and what it complained about; it has no network."""
    (tmp_path / "page.html").write_text(html, encoding="utf-8")
    context = browser.new_context(offline=True)
    tab, said = context.new_page(), []
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.goto((tmp_path / "page.html").as_uri())
    return tab, said
