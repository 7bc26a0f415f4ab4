"""From a completion to the program that is judged. Nothing is run here, and nothing of a problem's tests is in it.

    completion -> without its thoughts -> fenced code, or all of it -> without what follows the function -> program

A program is a module: the prompt and what continues it, or, where the completion defines the entry point itself, what
stands in the prompt before the function (imports, helpers) and the completion's own definition.
"""

import ast
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from spancredit.tasks.code.problem import CodeProblem
from spancredit.text.code import inside_fences, prose_and_code
from spancredit.text.python import BROKEN

THOUGHTS = re.compile(r"\A.*</think>", re.DOTALL)
FUTURE = re.compile(r"^from __future__ import .*\n?", re.MULTILINE)
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
    """The program of a completion, and where in the completion it stands: what `extract_program` says of it."""
    program, begins = _extracted(completion, problem)
    own = program[begins:].rstrip()
    found = completion.rfind(own) if own else -1
    return Extracted(program, begins, max(found, 0), len(own) if found >= 0 else 0)


def extract_program(completion: str, problem: CodeProblem) -> str:
    """The program of a completion.

    Of several fenced blocks the last one counts that defines the entry point. Without any, a completion that begins
    with an indented line continues the prompt, and so does the first block of another. Prose before a definition is
    left out, and so are tests or examples behind it, and what was begun there and not ended.

    Args:
        completion: What a model said, without special tokens.
    """
    return _extracted(completion, problem)[0]


def _extracted(completion: str, problem: CodeProblem) -> tuple[str, int]:
    """The program, and from which of its characters on it is the completion's text."""
    text = THOUGHTS.sub("", completion).replace("\r\n", "\n")
    blocks = [text[slice(*inside_fences(text, start, end))] for start, end, code in prose_and_code(text) if code]
    defining = [block for block in blocks if _definition(problem, block)]
    code = defining[-1] if defining else text
    definition = _definition(problem, code)
    if definition is None:
        return _continued(problem, [text, *blocks])
    if not defining and (begins := CODE_BEGINS.search(code)):
        code = code[begins.start() :]
        definition = _definition(problem, code)
    assert definition is not None
    module = _cut(code, TESTS, definition.end())
    module = next((one for one in _shorter(module, definition.end()) if _parses(one)), module)
    futures, rest = FUTURE.findall(module), FUTURE.sub("", module)
    before = "".join(futures) + _before(problem)
    return before + rest, len(before)


def _definition(problem: CodeProblem, code: str) -> re.Match[str] | None:
    """Where the entry point is defined, the last time."""
    name = re.escape(problem.entry_point)
    pattern = rf"^(?:(?:async )?def {name}\b|class {name}\b|{name}\s*(?::[^=\n]*)?=(?!=))"
    *_, last = (None, *re.finditer(pattern, code, re.MULTILINE))
    return last


def _continued(problem: CodeProblem, texts: list[str]) -> tuple[str, int]:
    """The prompt and its continuation, the first of the texts that can be one; where that begins.

    Tokenizers may drop the blanks that a text begins with: they are put back.
    """
    body = _cut(next(iter([text for text in texts if INDENTED.match(text)] or texts[1:] or texts)), STOPS, 0)
    possible = [(problem.prompt, body), (f"{problem.prompt}    ", body.lstrip(" "))]
    if not INDENTED.match(body):
        possible.reverse()
    before, rest = next((one for one in possible if _parses("".join(one))), (problem.prompt, body))
    return before + rest, len(before)


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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about escapes in strings
            ast.parse(code)
    except BROKEN:
        return False
    return True


def _before(problem: CodeProblem) -> str:
    """What stands in the prompt before the function; nothing of a prompt that is a mere docstring."""
    header = _definition(problem, problem.prompt)
    return problem.prompt[: header.start()] if header else ""
