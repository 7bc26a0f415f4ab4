"""What a single statement or header means, and the names in it: read from its text, as a program has it."""

import ast
from collections.abc import Iterator, Mapping
from functools import lru_cache

from spancredit.text.python import BROKEN, parsed

BODY = "\n    pass"
# What stands around a statement so that it can be read alone, in the layout of `ast.unparse`.
FRAMES = (
    ("", ""),
    ("", BODY),
    ("if 0:\n    pass\n", BODY),  # `elif`, `else`
    ("try:\n    pass\n", BODY),  # `except`, `finally`
    ("", f"{BODY}\nfinally:{BODY}"),  # `try`
    ("", "\n    case _:\n        pass"),  # `match`
    ("match 0:\n    ", "\n        pass"),  # `case`
)
NAMED = {  # where the parts of a syntax tree have a name that could be another
    ast.Name: "id",
    ast.arg: "arg",
    ast.alias: "asname",
    ast.FunctionDef: "name",
    ast.AsyncFunctionDef: "name",
    ast.ClassDef: "name",
    ast.ExceptHandler: "name",
    ast.MatchAs: "name",
    ast.MatchStar: "name",
    ast.MatchMapping: "rest",
}


@lru_cache(maxsize=1 << 16)
def meaning(statement: str) -> str:
    """The same for statements that differ in nothing that runs: layout, comments, parentheses."""
    found = _read(statement)
    return ast.dump(found[0]) if found else statement


@lru_cache(maxsize=1 << 16)
def bound(statement: str) -> tuple[str, ...]:
    """Names that a statement or a header gives to something, in order."""
    found = _read(statement)
    return tuple(name for node, name in _named(found[0]) if not _asked_for(node)) if found else ()


def renamed(statement: str, names: Mapping[str, str | None]) -> str | None:
    """A statement with other names, all at once: not in attributes, keyword arguments or texts.

    Args:
        names: What each becomes; None if nothing has its part. A name that is not in it stays, unless another
            becomes it.

    Returns:
        None if a name of it has no counterpart.
    """
    found = _read(statement)
    if found is None:
        return statement
    tree, (before, after) = found
    taken = set(names.values())
    became = {name: names.get(name, None if name in taken else name) for _, name in _named(tree)}
    if None in became.values():
        return None
    if all(name == other for name, other in became.items()):
        return statement
    tree = parsed(before + statement + after)  # one of its own, to be changed
    for node, name in _named(tree):
        setattr(node, NAMED[type(node)], became[name])
    return ast.unparse(tree).removeprefix(before).removesuffix(after)


@lru_cache(maxsize=1 << 16)
def _read(statement: str) -> tuple[ast.Module, tuple[str, str]] | None:
    """The statement's syntax tree within its frame; None if Python cannot read it alone."""
    for before, after in FRAMES:
        try:
            return parsed(before + statement + after), (before, after)
        except BROKEN:
            continue
    return None


def _named(tree: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    for node in ast.walk(tree):
        if name := getattr(node, NAMED.get(type(node), ""), None):
            yield node, name


def _asked_for(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Store)
