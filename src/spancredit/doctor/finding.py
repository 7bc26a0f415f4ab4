"""A finding: one thing that would go wrong, is wasted, or is good to know."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
LONGEST_EXAMPLE = 160  # characters


@dataclass(frozen=True)
class Finding:
    """One finding.

    Args:
        severity: `error`: training would stop, learn nothing, or have credit that is wrong or missing. `warning`: much
            is wasted, or bent. `note`: good to know.
        name: What it is about, as docs/doctor.md lists them; the same in every version.
        number: Its figure; what it counts stands in docs/doctor.md. None where there is none.
        text: What was found, in one sentence or two.
        advice: What to do about it.
        example: A short piece of a completion, or of a message, that shows it.
    """

    severity: Severity
    name: str
    number: float | None
    text: str
    advice: str
    example: str | None = None


def by_share(share: float, error: float | None = None, warning: float | None = None) -> Severity:
    """The severity of what holds for this share: from `error` on an error, from `warning` on a warning."""
    if error is not None and share >= error:
        return "error"
    return "warning" if warning is not None and share >= warning else "note"


def tail(text: str) -> str:
    """The end of a completion on one line: where it stopped, and where an answer would stand."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_EXAMPLE else "..." + line[3 - LONGEST_EXAMPLE :]


def percent(share: float) -> str:
    """A share for people; never 0 % of what there is, nor 100 % of what is not all."""
    if 0 < share < 0.01:
        return "less than 1 %"
    return "more than 99 %" if 0.995 <= share < 1 else f"{100 * share:.0f} %"


def counted(number: int, what: str) -> str:
    """`1 completion`, `2 completions`."""
    return f"{number} {what}{'' if number == 1 else 's'}"
