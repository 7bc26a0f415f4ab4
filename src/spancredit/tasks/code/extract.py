"""From a completion to the program that is judged. Nothing is run here, and nothing of a problem's tests is in it.

    completion -> without its thoughts -> fenced code, or all of it -> without what follows the function -> program

A program is a module: the prompt and what continues it, or, where the completion defines the entry point itself, what
stands in the prompt before the function (imports, helpers) and the completion's own definition.
"""

import ast
import re
import warnings
from collections.abc import Iterator

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


def extract_program(completion: str, problem: CodeProblem) -> str:
    """The program of a completion.

    Of several fenced blocks the last one counts that defines the entry point. Without any, a completion that begins
    with an indented line continues the prompt, and so does the first block of another. Prose before a definition is
    left out, and so are tests or examples behind it, and what was begun there and not ended.

    Args:
        completion: What a model said, without special tokens.
    """
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
    return "".join(futures) + _before(problem) + rest


def _definition(problem: CodeProblem, code: str) -> re.Match[str] | None:
    """Where the entry point is defined, the last time."""
    name = re.escape(problem.entry_point)
    pattern = rf"^(?:(?:async )?def {name}\b|class {name}\b|{name}\s*(?::[^=\n]*)?=(?!=))"
    *_, last = (None, *re.finditer(pattern, code, re.MULTILINE))
    return last


def _continued(problem: CodeProblem, texts: list[str]) -> str:
    """The prompt and its continuation: the first of the texts that can be one.

    Tokenizers may drop the blanks that a text begins with: they are put back.
    """
    possible = [text for text in texts if INDENTED.match(text)] or texts[1:] or texts
    body = _cut(possible[0], STOPS, 0)
    programs = [problem.prompt + body, problem.prompt + "    " + body.lstrip(" ")]
    if not INDENTED.match(body):
        programs.reverse()
    return next((one for one in programs if _parses(one)), problem.prompt + body)


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
