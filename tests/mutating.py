"""Programs with one thing changed, and a trusted process that says which of them are wrong, without the judge."""

import ast
import json
import pickle
import random
import subprocess
import sys
from collections.abc import Iterator

SWAPS = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.BitXor: ast.BitOr,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.Lt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Gt: ast.GtE,
    ast.LtE: ast.Lt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}

DROPPED = (ast.Assign, ast.AugAssign, ast.Expr, ast.For, ast.While, ast.If)

# Nothing of spancredit is in here: values are compared by `!=`, and floats are wrong only if they are far off.
TRUTH = """
import copy, json, math, pickle, signal, sys

def run(code, entry_point, calls):
    module = {}
    exec(code, module)
    return [module[entry_point](*copy.deepcopy(args)) for args in calls]

def far(one, other):
    if isinstance(one, float) or isinstance(other, float):
        try:
            return not math.isclose(one, other, rel_tol=1e-3, abs_tol=1e-3)
        except TypeError:
            return True
    if isinstance(one, (list, tuple)) and type(one) is type(other) and len(one) == len(other):
        return any(map(far, one, other))
    return type(one) is type(other) and one != other

def late(*_):
    raise SystemExit

code, mutants, entry_point, calls = pickle.load(sys.stdin.buffer)
signal.signal(signal.SIGALRM, late)
signal.alarm(5)
right = run(code, entry_point, calls)
verdicts = []
for mutant in mutants:
    signal.alarm(2)
    try:
        verdicts.append("wrong" if any(map(far, right, run(mutant, entry_point, calls))) else "unsure")
    except Exception:
        verdicts.append("wrong")
    except SystemExit:
        verdicts.append("unsure")
    signal.alarm(0)
print("\\n" + json.dumps(verdicts))
"""


def mutants(code: str, function: str, count: int, seed: int) -> list[str]:
    """Up to so many programs that differ from `code` in one place of one function."""
    rng = random.Random(seed)
    places = list(range(len(list(_places(ast.parse(code), function)))))
    rng.shuffle(places)
    made = []
    for place in places:
        tree = ast.parse(code)
        change = list(_places(tree, function))[place]
        change()
        made.append(ast.unparse(ast.fix_missing_locations(tree)))
    plain = ast.unparse(ast.parse(code))
    return [one for one in dict.fromkeys(made) if one != plain][:count]


def known_wrong(code: str, changed: list[str], entry_point: str, calls: list[tuple]) -> list[str]:
    """Those that return something else, or raise, on some of the calls when a plain Python runs them."""
    ran = subprocess.run(
        [sys.executable, "-I", "-c", TRUTH],
        input=pickle.dumps((code, changed, entry_point, calls)),
        capture_output=True,
        check=False,
    )
    if ran.returncode != 0 or not ran.stdout.strip():
        return []  # the solution itself takes longer than this has time for
    verdicts = json.loads(ran.stdout.decode().splitlines()[-1])
    return [one for one, verdict in zip(changed, verdicts, strict=True) if verdict == "wrong"]


def _places(tree: ast.Module, function: str) -> Iterator:
    (top,) = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == function][-1:]
    for node in ast.walk(top):
        yield from _changes(node)


def _changes(node: ast.AST) -> Iterator:
    if isinstance(node, (ast.BinOp, ast.AugAssign, ast.BoolOp)) and type(node.op) in SWAPS:
        yield lambda: setattr(node, "op", SWAPS[type(node.op)]())
    if isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
        yield lambda: node.ops.__setitem__(0, SWAPS[type(node.ops[0])]())
    if isinstance(node, ast.Constant) and type(node.value) is int:
        yield lambda: setattr(node, "value", node.value + 1)
    if isinstance(node, ast.Constant) and type(node.value) is bool:
        yield lambda: setattr(node, "value", not node.value)
    if isinstance(node, ast.Return) and node.value is not None:
        yield lambda: setattr(node, "value", ast.Constant(None))
    if isinstance(node, ast.If):
        yield lambda: setattr(node, "test", ast.UnaryOp(ast.Not(), node.test))
    body = getattr(node, "body", None)
    if isinstance(body, list):
        for at, statement in enumerate(body):
            docstring = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
            if not docstring and isinstance(
                statement, (ast.Assign, ast.AugAssign, ast.Expr, ast.For, ast.While, ast.If)
            ):
                yield lambda at=at: body.__setitem__(at, ast.Pass())
