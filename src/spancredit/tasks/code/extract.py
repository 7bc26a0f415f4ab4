"""From a completion to the program that is judged. Nothing is run here, and nothing of a problem's tests is in it.

    completion -> without its thoughts -> fenced code, or all of it -> without what follows the function -> program

A program is a module: the prompt and what continues it, or, where the completion defines the entry point itself, what
stands in the prompt before the function (imports, helpers) and the completion's own definition.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from spancredit.tasks.code.problem import CodeProblem
from spancredit.text.code import inside_fences, prose_and_code
from spancredit.text.python import BROKEN, parsed

THOUGHTS = re.compile(r"\A.*</think>", re.DOTALL)
FUTURE = re.compile(r"^from __future__ import (?:\([^)]*\)|.*).*\n?", re.MULTILINE)
INDENTED = re.compile(r"(?:[ \t]*\n)*[ \t]+\S")
CODE_BEGINS = re.compile(r"^(?:import \w|from [\w.]+ import|(?:async )?def \w|class \w+\s*[:(]|@\w)", re.MULTILINE)
TESTS = ("\nif __name__", "\nprint(", "\nassert ", "\n```", '\n"""', "\n'''")  # what models write after a solution
NEXT = ("\ndef ", "\nclass ", "\nimport ", "\nfrom ", "\n@", "\n#")  # how a base model begins something else
STOPS = (*TESTS, *NEXT)


@dataclass(frozen=True)
class Extracted:
    """A program, and the part of it that is the completion's own text.

    Args:
        program: The whole module.
        begins: Where that part begins in the program.
        found: Where the same text begins in the completion.
        size: Its characters; 0 if there are none, or they do not stand in the completion as they are here.
    """

    program: str
    begins: int
    found: int
    size: int

    def place_of(self, start: int, end: int) -> tuple[int, int]:
        """Characters of the completion as characters of the program; an empty range for what is not in it."""
        first, last = (min(max(at - self.found, 0), self.size) + self.begins for at in (start, end))
        return first, last


def extract(completion: str, problem: CodeProblem) -> Extracted:
    """The program of a completion, and where in the completion it stands.

    Of several fenced blocks the last one counts that defines the entry point. Without any, a completion that begins
    with an indented line continues the prompt, and so does the first block of another. Prose before a definition is
    left out, and so are tests or examples behind it, and what was begun there and not ended.

    Args:
        completion: What a model said, without special tokens.
    """
    thoughts = THOUGHTS.match(completion)
    skipped = thoughts.end() if thoughts else 0
    text = completion[skipped:].replace("\r\n", "\n")
    blocks = [inside_fences(text, start, end) for start, end, code in prose_and_code(text) if code]
    defining = [block for block in blocks if _definition(problem, text[slice(*block)])]
    start, end = defining[-1] if defining else (0, len(text))
    definition = _definition(problem, text[start:end])
    if definition is None:
        before, own, begins = _continued(problem, text, [(0, len(text)), *blocks])
    else:
        behind = start + definition.end()
        if not defining and (found := CODE_BEGINS.search(text, 0, behind)):
            start = found.start()
        before, own, begins = _defined(problem, text[start:end], start, behind - start)
    size = len(own.rstrip())
    there = completion[skipped + begins :].startswith(own[:size])  # not where line ends were others
    return Extracted(before + own, len(before), skipped + begins, size if there else 0)


def extract_program(completion: str, problem: CodeProblem) -> str:
    """The program of a completion, as `extract` finds it."""
    return extract(completion, problem).program


def _defined(problem: CodeProblem, code: str, start: int, behind: int) -> tuple[str, str, int]:
    """What stands before the completion's own text in the program, that text, and where in the completion it begins.

    Args:
        behind: Where in the code the entry point's last header ends.
    """
    module = _cut(code, TESTS, behind)
    module = next((one for one in _shorter(module, behind) if _parses(one)), module)
    futures = list(FUTURE.finditer(module))
    last = futures[-1].end() if futures else 0
    moved = "".join(found[0] for found in futures) + _before(problem) + FUTURE.sub("", module[:last])
    return moved, module[last:], start + last


def _definition(problem: CodeProblem, code: str) -> re.Match[str] | None:
    """Where the entry point is defined, the last time."""
    name = re.escape(problem.entry_point)
    pattern = rf"^(?:(?:async )?def {name}\b|class {name}\b|{name}\s*(?::[^=\n]*)?=(?!=))"
    *_, last = (None, *re.finditer(pattern, code, re.MULTILINE))
    return last


def _continued(problem: CodeProblem, text: str, places: list[tuple[int, int]]) -> tuple[str, str, int]:
    """The same for a continuation of the prompt: the first of the places that can be one.

    Tokenizers may drop the blanks that a text begins with: they are put back.
    """
    indented = [place for place in places if INDENTED.match(text[slice(*place)])]
    start, end = next(iter(indented or places[1:] or places))
    body = _cut(text[start:end], STOPS, 0)
    blanks = len(body) - len(body.lstrip(" "))
    possible = [(problem.prompt, body, start), (f"{problem.prompt}    ", body[blanks:], start + blanks)]
    if not INDENTED.match(body):
        possible.reverse()
    return next((one for one in possible if _parses(one[0] + one[1])), (problem.prompt, body, start))


def _cut(code: str, stops: tuple[str, ...], start: int) -> str:
    """Code up to the first of the stops behind `start`."""
    ends = [at for stop in stops if (at := code.find(stop, start)) >= 0]
    return code[: min(ends)] + "\n" if ends else code


def _shorter(code: str, start: int) -> Iterator[str]:
    """The code; without its last piece at the margin; without all of them behind `start`."""
    yield code
    margins = [match.start() for match in re.finditer(r"^[^\s#)\]}]", code, re.MULTILINE) if match.start() > start]
    if margins:
        yield code[: margins[-1]]
        yield code[: margins[0]]


def _parses(code: str) -> bool:
    try:
        parsed(code)
    except BROKEN:
        return False
    return True


def _before(problem: CodeProblem) -> str:
    """What stands in the prompt before the function; nothing of a prompt that is a mere docstring."""
    header = _definition(problem, problem.prompt)
    return problem.prompt[: header.start()] if header else ""
