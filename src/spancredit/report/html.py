"""One self-contained page of a run, a study or a completion: tables, pictures, rollouts that can be filtered.

No network, no code but its own: the policy of the page allows its one script and its one style by hash, and what a
model wrote is set as text.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from spancredit.report.records import measure_of, right_of
from spancredit.report.spaced import spaced
from spancredit.report.visible import shown, visible

PAGE = Path(__file__).parent / "page"
MOST_ROLLOUTS = 400
MEASURED = ("drop", "importance", "weight")
Record = dict[str, Any]


@dataclass(frozen=True)
class Picture:
    """An SVG picture and what it shows."""

    svg: str
    caption: str

    @property
    def source(self) -> str:
        return f"data:image/svg+xml;base64,{base64.b64encode(self.svg.encode()).decode()}"


@dataclass(frozen=True)
class Section:
    """A heading with notes, a table and pictures below it."""

    name: str
    title: str
    notes: Sequence[str] = ()
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    figures: Sequence[Picture] = field(default_factory=tuple)


def page(
    title: str,
    facts: str,
    sections: Sequence[Section],
    records: dict[str, Sequence[Record]],
    below: Sequence[Section] = (),
) -> str:
    """The page as HTML.

    Args:
        facts: One line below the title.
        records: Rollouts of each arm, as records; a share of each is shown, evenly spaced, `MOST_ROLLOUTS` in all. One
            alone is shown without filters.
        below: Sections that stand below the rollouts.
    """
    script, style = ((PAGE / name).read_text(encoding="utf-8") for name in ("page.js", "page.css"))
    share = MOST_ROLLOUTS // len(records)
    rollouts = [_rollout(arm, record) for arm, some in records.items() for record in spaced(some, share)]
    environment = Environment(loader=FileSystemLoader(PAGE), autoescape=True, finalize=shown)
    return environment.get_template("page.html.j2").render(
        title=title,
        facts=facts,
        sections=sections,
        below=below,
        style=Markup(style),
        style_hash=_hash(style),
        script=Markup(script),
        script_hash=_hash(script),
        data=Markup(_json(rollouts)),
    )


def _rollout(arm: str, record: Record) -> dict[str, Any]:
    spans = [{**_span(span, record), **{key: span[key] for key in MEASURED}} for span in record["spans"]]
    if record["answer"]:
        weight = record["token_weights"][record["answer"]["start"]]
        spans.append({**_span(record["answer"], record), "drop": None, "importance": None, "weight": weight})
    return {
        "arm": visible(arm),
        "step": record["step"],
        "prompt": visible(record["prompt"]),
        "tokens": [visible(token) for token in record["tokens"]],
        "weights": [round(weight, 3) for weight in record["token_weights"]],
        "spans": spans,
        "reward": record["reward"],
        "right": right_of(record),
        "advantage": record["advantage"],
        "reason": None if record["reason"] is None else visible(record["reason"]),
    }


def _span(span: dict[str, Any], record: Record) -> dict[str, Any]:
    return {"start": span["start"], "end": span["end"], "kind": visible(span["kind"]), "measure": measure_of(record)}


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _json(value: Any) -> str:
    """JSON in ASCII that cannot end the script element it stands in."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")
