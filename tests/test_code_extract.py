"""From completions, as models write them, to programs."""

import pytest

from spancredit.sandbox import Call
from spancredit.tasks.code import CodeProblem, extract_program

BEFORE = "from math import gcd\n\ndef helper(x):\n    return x\n\n"
PROMPT = BEFORE + 'def f(a):\n    """Return a.\n\n    >>> f(1)\n    1\n    """\n'
PROBLEM = CodeProblem("p", PROMPT, "f", None, (Call((4,)), Call((0,))), (4, 0))
DOCSTRING = CodeProblem("q", '"""\nWrite f.\nassert f(1) == 1\n"""\n', "f", None, (Call((4,)), Call((0,))), (4, 0))
WHOLE = "def f(a):\n    return a\n"


def runs(completion, problem=PROBLEM):
    """Whether the program does what was asked; run right here, since every completion is written here."""
    module = {}
    exec(extract_program(completion, problem), module)  # noqa: S102
    return [module["f"](*call.args) for call in problem.calls] == list(problem.expected)


@pytest.mark.parametrize(
    "completion",
    [
        "    return a\n",
        "    return a",
        "   return a",
        "return a",
        "   b = a\n    return b",
        "    return helper(a)",
        "    return a\n\n\ndef g(x):\n    return x +",
        "    return a\n\nprint(f(1))\nassert f(1) == 2",
        "    return a\n# Test\nassert f(1) == 2",
        "    return a\n\nif __name__ == '__main__':\n    import nothing_of_this_name",
        "    return a\n```\nThis returns a.",
        WHOLE,
        f"Here is the function:\n\n{WHOLE}",
        f"import re\n{WHOLE}\nassert f(1) == 2",
        f"{WHOLE}\ndef test():\n    assert f(",
        f"{WHOLE}\nx = 1\n\ndef more():\n    pass\n\nIt returns a.",
        f"```python\n{WHOLE}```",
        f"```\n{WHOLE}```\nIt returns `a`.",
        f"```python\n{WHOLE}",
        f"~~~py\n{WHOLE}~~~",
        f"Sure!\r\n\r\n```python\r\n{WHOLE}```\r\n",
        f"```python\n{WHOLE}\nassert f(1) == 2\n```",
        f"```python\n{WHOLE}\nprint(f(1))\n```\n\n```python\nassert f(1) == 2\n```",
        f"```python\ndef f(a):\n    return -1\n```\nBetter:\n```python\n{WHOLE}```",
        f"First:\n```python\nx = 1\n```\nThen:\n```python\n{WHOLE}```",
        "```python\n    return a\n```",
        "Sure\n```python\n    return a\n```",
        "```python\nreturn a\n```",
        "\n\n    return a\n",
        "```python\nf = lambda a: a\n```",
        "```python\ndef f(a):\n    return gcd(a, 0) if a else helper(a)\n```",
        "```python\nfrom __future__ import annotations\n\ndef f(a: Unknown) -> Unknown:\n    return helper(a)\n```",
        "```python\nfrom __future__ import (\n    annotations,\n)\n\ndef f(a: Unknown):\n    return helper(a)\n```",
        f"<think>\n```python\ndef f(a):\n    return 0\n```\n</think>\n```python\n{WHOLE}```",
        "```python\ndef f(a):\n    s = '''\nassert'''\n    return a\n```",
    ],
)
def test_what_was_meant_is_what_runs(completion):
    assert runs(completion)


@pytest.mark.parametrize(
    "completion",
    [
        WHOLE,
        f"\n{WHOLE}",
        f'{WHOLE}"""\nWrite g.\nassert g(1) == 2\n"""\ndef g(',
        "def g(a):\n    return a\n\ndef f(a):\n    return g(a)\n",
        "def f(a):\n    return g(a)\n\ndef g(a):\n    return a\n\nprint(f(1))\n",
        "f = lambda a: a\nimport os\n",
        "f = lambda a: g(a)\ndef g(a):\n    return a\n",
        f"{WHOLE}```\nThis returns a.",
        f"{WHOLE}assert f(1) == 2",
        f"```python\n{WHOLE}```",
    ],
)
def test_a_prompt_without_a_header_is_answered_by_the_whole_function(completion):
    assert runs(completion, DOCSTRING)


@pytest.mark.parametrize(
    "completion", ["", " ", "I do not know.", "```python\n```", "(" * 10_000, "    return a +", "\0"]
)
def test_what_is_no_program_stays_none(completion):
    with pytest.raises((SyntaxError, ValueError, AssertionError, RecursionError, MemoryError)):
        assert runs(completion)


def test_a_program_holds_nothing_of_the_tests():
    problem = CodeProblem("p", PROMPT, "f", "    return 'canonical'\n", (Call(("argument",)),), ("expected",))
    program = extract_program("    return a\n", problem)
    assert not any(word in program for word in ("argument", "expected", "canonical"))
