"""The truth about any completion of a word problem: the role of every stretch, and which step went wrong first."""

import re
from dataclasses import dataclass
from typing import Literal

from spancredit.tasks import language
from spancredit.tasks.wordproblems import Problem

Role = Literal["filler", "lead_in", "calculation", "unit", "other", "marker", "answer"]

SENTENCE = re.compile(r"[^.]*\.\s*|[^.]+$")
EQUATION = re.compile(r"\d+ [-+*/] \d+ = \d+")


@dataclass(frozen=True)
class Stretch:
    """A character range of a completion.

    Args:
        role: What it does there. A lead-in stands before an equation and commits to its operation; a unit follows it.
        step: Index of the equation that it belongs to, or None.
        right: For a calculation, whether it is the true step; for a lead-in, whether it commits to the true operation;
            for the answer, whether it is the true one; None for the rest.
    """

    start: int
    end: int
    role: Role
    step: int | None = None
    right: bool | None = None


def read_solution(completion: str, problem: Problem) -> list[Stretch]:
    """Label a completion, sampled or gold. The stretches tile it, in order."""
    reasoning, marker, answer = completion.rpartition("####")
    if not marker:
        reasoning, answer = completion, ""
    stretches: list[Stretch] = []
    step = 0
    for sentence in SENTENCE.finditer(reasoning):
        start, end = sentence.span()
        equation = EQUATION.search(sentence.group())
        if equation is None:
            known = sentence.group().strip() in language.FILLERS or not sentence.group().strip()
            stretches.append(Stretch(start, end, "filler" if known else "other"))
            continue
        first, last = start + equation.start(), start + equation.end()
        true = problem.steps[step] if step < len(problem.steps) else None
        commits = true is not None and _commits(reasoning[start:first], true.op)
        stretches.append(Stretch(start, first, "lead_in", step, commits))
        stretches.append(Stretch(first, last, "calculation", step, true is not None and equation.group() == str(true)))
        stretches.append(Stretch(last, end, "unit", step))
        step += 1
    if marker:
        start = len(reasoning) + len(marker)
        stretches.append(Stretch(len(reasoning), start, "marker"))
        stretches.append(Stretch(start, len(completion), "answer", right=answer.strip() == str(problem.answer)))
    return [stretch for stretch in stretches if stretch.start < stretch.end]


def first_fault(stretches: list[Stretch]) -> int | None:
    """Step of the first calculation that is not the true one; None if all that are there are right."""
    return next((s.step for s in stretches if s.role == "calculation" and not s.right), None)


def _commits(lead_in: str, op: str) -> bool:
    """Whether these words begin a sentence about this operation, whoever it is about."""
    endings = (template.replace("{name}", "").strip() for template in language.LEAD_INS[op])
    return any(lead_in.strip().endswith(ending) for ending in endings)
