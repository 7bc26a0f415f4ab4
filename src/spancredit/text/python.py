"""Python code: its statements, and the headers of compound ones, as pieces that tile it."""

import ast
import io
import tokenize
import warnings
from collections.abc import Iterator
from typing import Any

from spancredit.text.code import cut_lines

Piece = tuple[int, int, str]
BROKEN = (SyntaxError, ValueError, RecursionError, MemoryError)  # what Python says of text that is no program
INDENTED = "if 1:\n"  # before a function's body that stands alone
CLAUSES = {"else": "code:Else", "finally": "code:Finally"}
SCOPES = (ast.Module, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def cut_python(text: str, start: int, end: int) -> list[Piece]:
    """Pieces of `text[start:end]`, which is code. Code that does not parse is cut at line ends, as `line`.

    A simple statement is one piece; of a compound one the header is, and every statement in it is again: `code:For`,
    `code:If`, `code:Else`, `code:Return` and so on, by the names of Python's syntax tree. A docstring is a
    `docstring`, lines of comments alone are a `comment`; a comment behind a statement belongs to it, and so do the
    blank lines after. The body of a function without its header is code, too.
    """
    code = text[start:end].replace("\r\n", " \n").replace("\r", "\n")
    begun = _beginnings(code)
    if not begun:
        return [(first, last, "line") for first, last in cut_lines(text, start, end)]
    bounds = [0, *(at for at, _ in begun[1:]), len(code)]
    return [
        (start + first, start + last, kind)
        for first, last, (_, kind) in zip(bounds[:-1], bounds[1:], begun, strict=True)
        if first < last
    ]


def parsed(code: str) -> ast.Module:
    """Raises one of `BROKEN` if Python cannot read it."""
    tree: ast.Module = _compiled(code, ast.PyCF_ONLY_AST)
    return tree


def compiles(code: str) -> bool:
    """Whether Python would run it: what it can read, without a `return` or a `break` out of place."""
    try:
        _compiled(code, 0)
    except BROKEN:
        return False
    return True


def _compiled(code: str, flags: int) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about escapes in strings
        return compile(code, "<code>", "exec", flags, dont_inherit=True)


def _beginnings(code: str) -> list[tuple[int, str]]:
    """Where each piece begins, and its kind, in order; none if the code does not parse."""
    for lead in ("", INDENTED):
        try:
            statements = _statements(parsed(lead + code), _Offsets(lead + code))
            found = dict([*_comments_and_clauses(lead + code), *statements])
        except BROKEN:
            continue
        return sorted((at - len(lead), kind) for at, kind in found.items() if at >= len(lead))
    return []


class _Offsets:
    """From a line (from 1) and a column in bytes to an offset in characters, moved to the line's start over blanks."""

    def __init__(self, code: str):
        self.lines = code.split("\n")
        self.starts = [0]
        for line in self.lines:
            self.starts.append(self.starts[-1] + len(line) + 1)

    def line_of(self, word: str, line: int) -> int:
        """The last line up to this one that begins with a word."""
        return next(n for n in range(line, 0, -1) if self.lines[n - 1].lstrip().startswith(word))

    def of(self, line: int, column: int) -> int:
        before = self.lines[line - 1].encode()[:column].decode(errors="ignore")
        return self.starts[line - 1] + (len(before) if before.strip() else 0)


def _statements(tree: ast.AST, offsets: _Offsets) -> Iterator[tuple[int, str]]:
    """Statements and clauses that the tree has a place for; a level of nesting is not a level of recursion."""
    docstrings = {
        id(node.body[0]) for node in ast.walk(tree) if isinstance(node, SCOPES) and node.body and _is_text(node.body[0])
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.match_case):
            yield offsets.starts[offsets.line_of("case", node.pattern.lineno) - 1], "code:Case"
        elif isinstance(node, (ast.stmt, ast.ExceptHandler)):
            first = min([node, *getattr(node, "decorator_list", [])], key=lambda part: part.lineno)
            column = 0 if first is not node else first.col_offset
            kind = "docstring" if id(node) in docstrings else f"code:{type(node).__name__}"
            yield offsets.of(first.lineno, column), kind


def _is_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and (isinstance(statement.value.value, str))
    )


def _comments_and_clauses(code: str) -> Iterator[tuple[int, str]]:
    """Comments that have their lines to themselves, the first of each block, and `else` and `finally`."""
    offsets, in_comment, fresh = _Offsets(code), False, True
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        if token.type in (tokenize.NL, tokenize.INDENT, tokenize.DEDENT):
            continue
        if token.type == tokenize.COMMENT and fresh:
            if not in_comment:
                yield offsets.starts[token.start[0] - 1], "comment"
            in_comment = True
            continue
        if fresh and token.string in CLAUSES:
            yield offsets.starts[token.start[0] - 1], CLAUSES[token.string]
        in_comment = in_comment and token.type == tokenize.COMMENT
        fresh = token.type == tokenize.NEWLINE
