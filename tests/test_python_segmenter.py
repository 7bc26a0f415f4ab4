"""Python code is cut into statements and headers that tile it, whatever is written."""

import ast
import gzip
import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers_for_tests import TOKENIZERS

from spancredit.config import CreditConfig
from spancredit.text.align import align
from spancredit.text.python import cut_python
from spancredit.text.segment import python, segment

DATA = Path(__file__).parents[1].parent / "shared" / "data" / "evalplus"
CODE = '''import math
# a comment
# goes on

@cached
def f(x, y=1):
    """Doc
    string."""
    total = 0  # trailing
    for i in range(x):
        # inside
        if i % 2: total += i; y = 2
        elif i > 5:
            continue
        else:
            total -= (1 +
                # within
                2)
    try:
        return "é", total
    except ValueError as e:
        raise
    finally:
        print("é", total); y = 3
    match x:
        case 1:
            pass
'''
PIECES = [
    ("code:Import", "import math\n"),
    ("comment", "# a comment\n# goes on\n\n"),
    ("code:FunctionDef", "@cached\ndef f(x, y=1):\n"),
    ("docstring", '    """Doc\n    string."""\n'),
    ("code:Assign", "    total = 0  # trailing\n"),
    ("code:For", "    for i in range(x):\n"),
    ("comment", "        # inside\n"),
    ("code:If", "        if i % 2: "),
    ("code:AugAssign", "total += i; "),
    ("code:Assign", "y = 2\n"),
    ("code:If", "        elif i > 5:\n"),
    ("code:Continue", "            continue\n"),
    ("code:Else", "        else:\n"),
    ("code:AugAssign", "            total -= (1 +\n                # within\n                2)\n"),
    ("code:Try", "    try:\n"),
    ("code:Return", '        return "é", total\n'),
    ("code:ExceptHandler", "    except ValueError as e:\n"),
    ("code:Raise", "        raise\n"),
    ("code:Finally", "    finally:\n"),
    ("code:Expr", '        print("é", total); '),
    ("code:Assign", "y = 3\n"),
    ("code:Match", "    match x:\n"),
    ("code:Case", "        case 1:\n"),
    ("code:Pass", "            pass\n"),
]


def read(text):
    return [(kind, text[start:end]) for start, end, kind in python(text)]


def test_statements_and_headers_are_pieces_with_the_names_of_the_syntax_tree():
    assert read(CODE) == PIECES


def test_a_body_without_its_header_is_code():
    assert read("    x = 1\n    return x\n\nprint(f(2))") == [
        ("code:Assign", "    x = 1\n"),
        ("code:Return", "    return x\n\n"),
        ("code:Expr", "print(f(2))"),
    ]


@pytest.mark.parametrize(
    "broken", ["x = (1,\ny = 2\n", "def f(:\n  pass", "for x in\n", "x = '\n", "a\0b\nc", "if x:\n"]
)
def test_broken_code_falls_back_to_lines(broken):
    assert {kind for kind, _ in read(broken)} == {"line"}
    assert len(read(broken)) == len(broken.splitlines())


def test_prose_around_a_fence_is_text_and_fences_are_no_code():
    assert read("Here it is.\n```python\nx = 1\nreturn x\n```\nDone.") == [
        ("text", "Here it is.\n"),
        ("text", "```python\n"),
        ("code:Assign", "x = 1\n"),
        ("code:Return", "return x\n"),
        ("text", "```\n"),
        ("text", "Done."),
    ]
    assert read("```\nx = (\n```")[1] == ("line", "x = (\n")
    assert read("```\nx = 1\ny = 2") == [("text", "```\n"), ("code:Assign", "x = 1\n"), ("code:Assign", "y = 2")]


@pytest.mark.parametrize("ends", ["\r\n", "\r"])
def test_line_ends_of_other_systems_do_not_move_a_piece(ends):
    text = CODE.replace("\n", ends)
    assert [(kind, piece.replace(ends, "\n")) for kind, piece in read(text)] == PIECES


@pytest.mark.parametrize(
    "deep", ["(" * 5000, "[" * 300 + "]" * 300, "-" * 100_000 + "1", "if x:\n" * 200, "x." * 50_000]
)
def test_what_python_gives_up_on_is_cut_all_the_same(deep):
    pieces = cut_python(deep, 0, len(deep))
    assert "".join(deep[start:end] for start, end, _ in pieces) == deep


BITS = [
    "x = 1",
    "if x:",
    "else:",
    "    ",
    "\t",
    "\n",
    "\r\n",
    "return x",
    "# c",
    '"""',
    "'",
    "(",
    ")",
    "```",
    "é",
    "def f():",
    ";",
    "\\",
]


@given(st.lists(st.one_of(st.sampled_from(BITS), st.text(max_size=4)), max_size=24).map("".join))
@example("\x0cx = 1\n")
@example("if 1:\n  x\n\n# end")
@example("\ufeffx = 1\n")
def test_pieces_tile_any_text(text):
    pieces = python(text)
    assert "".join(text[start:end] for start, end, _ in pieces) == text
    assert all(start < end for start, end, _ in pieces) or not text


@pytest.mark.parametrize("name", ["qwen2", "llama3", "gemma"])
def test_statements_become_spans_of_tokens(name):
    tokenizer = TOKENIZERS[name]()
    aligned = align(tokenizer, tokenizer(CODE, add_special_tokens=False).input_ids)
    spans = segment(aligned, len(aligned.plain), CreditConfig(segmenter="python"), len(aligned.starts))
    assert [span.start for span in spans[1:]] == [span.end for span in spans[:-1]]
    assert spans[0].start == 0
    assert spans[-1].end == len(aligned.starts)
    assert {span.kind for span in spans} == {kind for kind, _ in PIECES}


@pytest.mark.skipif(not DATA.exists(), reason="the folder with evalplus's files is missing")
@pytest.mark.parametrize("file", ["MbppPlus", "HumanEvalPlus"])
def test_every_canonical_solution_is_cut_into_as_many_statements_as_it_has(file):
    with gzip.open(DATA / f"{file}.jsonl.gz", "rt") as lines:
        problems = [json.loads(line) for line in lines]
    for problem in problems:
        text = (problem["prompt"] if file == "HumanEvalPlus" else "") + problem["canonical_solution"]
        tree = ast.parse(text)
        statements = [node for node in ast.walk(tree) if isinstance(node, (ast.stmt, ast.ExceptHandler))]
        pieces = [kind for kind, _ in read(text) if kind not in ("comment", "code:Else", "code:Finally", "code:Case")]
        assert len(pieces) == len(statements), problem["task_id"]
        assert "".join(piece for _, piece in read(text)) == text
