"""A credit in a notebook: its spans and its answer on the colours of their weights."""

from html import escape

from spancredit.report.terminal import colour
from spancredit.report.visible import visible
from spancredit.report.words import spent
from spancredit.types import REASONS, Credit, Span, SpanCredit

GAP = '<i title="tokens that are no span, and of which a credit has no text"> … </i>'
STYLE = "white-space: pre-wrap; overflow-wrap: anywhere; font-family: monospace; line-height: 1.9"


def credit_html(credit: Credit) -> str:
    """HTML without scripts, handlers or addresses; what a model wrote is escaped.

    A credit knows its spans and its answer, and not what stands between them (the marker) or behind: dots stand there.
    """
    pieces = [(span.start, span.end, _piece(span, span.weight, _measured(span))) for span in credit.spans]
    if (answer := credit.answer) is not None:
        weight = float(credit.token_weights[answer.start])
        pieces.append((answer.start, answer.end, _piece(answer, weight, f"answer, weight {weight:.2f}")))
    parts, done = [], 0
    for start, end, piece in pieces:
        parts += [GAP, piece] if start > done else [piece]
        done = end
    if pieces and done < len(credit.token_weights):
        parts.append(GAP)
    note = f"every weight is 1: {REASONS.get(credit.reason, credit.reason)}" if credit.reason else _said(credit)
    return f'<div style="{STYLE}">{"".join(parts)}</div><div>{escape(visible(note))}</div>'


def _piece(span: Span, weight: float, hint: str) -> str:
    red, green, blue = colour(weight)
    text = span.text or f"[{span.start}:{span.end}]"  # without a tokenizer there is none
    style = f"color: white; background: rgb({red}, {green}, {blue})"
    return f'<span style="{style}" title="{escape(visible(hint))}">{escape(visible(text))}</span>'


def _measured(span: SpanCredit) -> str:
    return f"{span.kind}, drop {span.drop:+.3f}, importance {span.importance:.2f}, weight {span.weight:.2f}"


def _said(credit: Credit) -> str:
    logp = "" if credit.answer_logp is None else f"log-probability of the answer: {credit.answer_logp:.3f} nats; "
    return f"{logp}{spent(credit.cost.forwards, credit.cost.tokens)}"
