"""Counterfactuals that are run: what a variant is, which are run, and what the tests say of each statement."""

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spancredit.execution.drops import Program, exchange_drops, execution_drops
from spancredit.execution.exchanges import Exchange, exchanged, statements
from spancredit.execution.names import meaning
from spancredit.execution.variants import fingerprint, variants
from spancredit.sandbox import Call, Candidate, Sandbox
from spancredit.text.python import cut_python

DATA = Path(__file__).parents[1].parent / "shared" / "data" / "evalplus"
SUM = '''def f(xs):
    """Doc."""
    unused = 0  # c
    total = 0
    # nothing to run
    for x in xs:
        if x < 0:
            continue
        total += x
    return total
'''
CALLS = ([1, 2], [], [-1], [5, -2, 3])
EXPECTED = [3, 0, 0, 8]


def stretches(code):
    return tuple((start, end) for start, end, _ in cut_python(code, 0, len(code)))


def one(code, text):
    """The variant without the piece that has this text."""
    (found,) = [(a, b) for a, b in stretches(code) if text in code[a:b]]
    return variants(code, [found])[0]


@pytest.fixture(scope="module")
def run():
    """Runs programs on `CALLS`, and notes them."""
    with Sandbox() as box:

        def run(pairs):
            run.seen.append([code for _, code in pairs])
            calls = tuple(Call((xs,)) for xs in CALLS)
            outcomes = box.run([Candidate(code, "f", calls) for _, code in pairs])
            return [
                (
                    tuple(
                        one.status == "value" and one.value == expected
                        for one, expected in zip(outcome.results, EXPECTED, strict=True)
                    ),
                    run.final,
                )
                for outcome in outcomes
            ]

        run.seen, run.final = [], True
        yield run


def test_the_fall_in_pass_rate_is_each_statements_drop(run):
    (found,) = execution_drops([Program("sum", SUM, stretches(SUM))], run)
    drops = dict(zip([SUM[a:b].strip() for a, b in stretches(SUM)], found.drops_K, strict=True))
    assert found.passed == (True,) * 4
    assert drops == {
        "def f(xs):": 1.0,
        '"""Doc."""': 0.0,
        "unused = 0  # c": 0.0,
        "total = 0": 1.0,
        "# nothing to run": 0.0,
        "for x in xs:": 1.0,  # x is not there
        "if x < 0:": 0.5,  # everything is left out
        "continue": 0.5,
        "total += x": 0.5,
        "return total": 1.0,
    }
    assert found.runs == 1 + 8


def test_a_statement_that_keeps_tests_from_passing_has_a_negative_drop(run):
    wrong = SUM.replace("    return total", "    total += 1\n    return total")
    (found,) = execution_drops([Program("sum", wrong, stretches(wrong))], run)
    assert not any(found.passed)
    worst = min(range(len(found.drops_K)), key=found.drops_K.__getitem__)
    assert wrong[slice(*stretches(wrong)[worst])].strip() == "total += 1"
    assert found.drops_K[worst] == -1.0


def test_what_differs_in_nothing_that_runs_is_run_once_and_remembered(run):
    run.seen.clear()
    respaced = SUM.replace("total = 0", "total  =  (0)").replace("# nothing to run", "# other words")
    cache = {}
    programs = [Program("sum", SUM, stretches(SUM)), Program("sum", respaced, stretches(respaced))]
    first, second = execution_drops(programs, run, cache)
    (codes,) = run.seen
    assert len(codes) == len({fingerprint(code) for code in codes}) == first.runs == 9
    assert second.runs == 0
    assert second.drops_K == first.drops_K
    again = execution_drops(programs, run, cache)
    assert [one.runs for one in again] == [0, 0]
    assert len(run.seen) == 1, "nothing to run, nothing asked"
    assert execution_drops([Program("other", SUM, ())], run, cache)[0].runs == 1, "other tests, other runs"


def test_a_header_loses_its_condition_and_keeps_what_it_heads():
    code = "def f(x):\n  while x:\n    if x: y = 1; break\n    else:\n      z()\n  with x as y:\n    pass\n"
    assert "for _ in (0,):\n    if x:" in one(code, "while x")
    assert "if True: y = 1; break" in one(code, "if x:")
    assert "if x: pass; break" in one(code, "y = 1;")
    assert "    elif False:\n      z()" in one(code, "else:")
    assert "  if True:\n    pass" in one(code, "with x")
    assert one("try:\n  a()\nexcept E as e:\n  b()\n", "except") == "try:\n  a()\nexcept ():\n  b()\n"
    assert one("match x:\n  case 1:\n    a()\n", "case") == "match x:\n  case _ if False:\n    a()\n"
    assert one("@d\n@e(1)\ndef f(): return 1\n", "def") == "def _(*_, **__): return 1\n"


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("# c\nx = 1\n", "# c"),
        ('"""Doc."""\n', "Doc"),
        ("try:\n  a()\nfinally:\n  b()\n", "try"),
        ("x = (\n", "x"),
        ("for x in y:\n  a()\nelse:\n  b()\n", "else"),
        ("match x:\n  case 1:\n    a()\n", "match"),
    ],
)
def test_what_cannot_matter_or_is_syntax_alone_has_no_variant(code, text):
    assert one(code, text) is None


def test_a_stretch_takes_what_it_holds_and_a_statement_cut_in_two_is_taken_by_both_halves():
    code = "a = 1\nb = 2\nc = [1, 2, 3, 4]\n"
    assert variants(code, [(0, 12)]) == ["pass\npass\nc = [1, 2, 3, 4]\n"]
    assert variants(code, [(12, 21), (21, 29)]) == ["a = 1\nb = 2\npass\n"] * 2
    assert variants(code, [(0, 7)]) == ["pass\nb = 2\nc = [1, 2, 3, 4]\n"], "a letter of the next is not the next"


@given(
    st.lists(
        st.sampled_from(["x = 1", "if x:", "else:", "  ", "\n", "return x", "# c", "def f():", ";", "é"]), max_size=20
    )
)
def test_every_variant_of_a_program_that_parses_parses(bits):
    code = "".join(bits)
    for variant in variants(code, stretches(code)):
        if variant is not None:
            compile(variant, "variant", "exec", flags=0x400)  # ast.PyCF_ONLY_AST
            assert fingerprint(variant)


@pytest.mark.skipif(not DATA.exists(), reason="the folder with evalplus's files is missing")
def test_every_statement_of_real_solutions_has_a_variant_that_parses():
    with gzip.open(DATA / "MbppPlus.jsonl.gz", "rt") as lines:
        codes = [json.loads(line)["canonical_solution"] for line in lines][::4]
    made = total = 0
    for code in codes:
        pieces = cut_python(code, 0, len(code))
        found = variants(code, [(a, b) for a, b, _ in pieces])
        runnable = [
            kind not in ("comment", "docstring", "code:Try", "code:Finally", "code:Else") for *_, kind in pieces
        ]
        made += sum(one is not None for one, runs in zip(found, runnable, strict=True) if runs)
        total += sum(runnable)
    assert made == total > 300


# -- exchanges

RIGHT = "def f(xs):\n    total = 0\n    for x in xs:\n        if x > 0:\n            total += x\n    return total\n"


def parted(mine, other):
    """The statement at which two programs part, and the one with the other's choice there."""
    places = statements(mine)
    found = exchanged(mine, places, other, statements(other))
    return None if found.alike == len(places) else mine[slice(*places[found.alike])], found.code


def test_the_first_statement_that_differs_is_exchanged_and_the_rest_stays():
    other = RIGHT.replace("x > 0", "x >= 0").replace("return total", "return -total")
    assert parted(RIGHT, other) == ("if x > 0:", RIGHT.replace("x > 0", "x >= 0"))
    assert parted(other, RIGHT) == ("if x >= 0:", other.replace("x >= 0", "x > 0"))
    assert parted(RIGHT, RIGHT) == (None, None)


def test_comments_docstrings_layout_and_names_make_no_difference():
    for other in (
        RIGHT.replace("    total = 0\n", '    """Doc."""\n    # sum\n    total = 0  # at first\n\n'),
        RIGHT.replace("x > 0", "(x) > 0 "),
        RIGHT.replace("total", "result")
        .replace("for x", "for item")
        .replace("x > 0", "item > 0")
        .replace("= x", "= item"),
    ):
        assert parted(RIGHT, other) == (None, None), other
    renamed = RIGHT.replace("total", "result").replace("x > 0", "x < 0")
    assert parted(RIGHT, renamed) == ("if x > 0:", RIGHT.replace("x > 0", "x < 0")), "in the one's own names"


def test_the_depth_of_a_statement_makes_a_difference_and_is_exchanged_with_it():
    inside = RIGHT.replace("    return total\n", "        return total\n")
    assert parted(RIGHT, inside) == ("return total", inside)
    assert parted(inside, RIGHT) == ("return total", RIGHT)


def test_where_the_other_has_ended_a_statement_is_taken_away():
    longer = RIGHT.replace("    return total\n", "    return total\n    print(total)\n")
    assert parted(longer, RIGHT) == ("print(total)", longer.replace("print(total)", "pass"))
    assert parted(RIGHT, longer) == (None, None), "what the other has besides stands in no one's place"


def test_what_python_could_not_read_is_no_exchange():
    other = RIGHT.replace("        if x > 0:\n            total += x\n", "        total += x\n        total += 1\n")
    statement, code = parted(RIGHT, other)
    assert statement == "if x > 0:"
    assert code is None, "a header's body would be left without one"
    assert parted(RIGHT, RIGHT.replace("total = 0", "total = ("))[1] is None


@given(st.integers(0, 7), st.integers(0, 7))
def test_programs_part_at_the_first_of_their_differences(first, second):
    def made(number):
        changes = {1: ("total = 0", "total = 5"), 2: ("x > 0", "x < 0"), 4: ("+= x", "-= x")}
        code = RIGHT
        for bit, change in changes.items():
            code = code.replace(*change) if number & bit else code
        return code

    differ = first ^ second
    lowest = differ & -differ
    expected = made(first & ~lowest | second & lowest) if differ else None
    assert parted(made(first), made(second))[1] == expected


def test_a_slip_is_blamed_and_what_avoids_it_is_credited_as_far_as_the_others_fall_for_it(run):
    slip = SUM.replace("x < 0", "x > 0")
    programs = [Program("sum", code, stretches(code)) for code in (SUM, slip, slip, SUM + "\n# the same\n")]
    run.seen.clear()
    good, bad, same, other = exchange_drops(programs, run)
    texts = [SUM[a:b].strip() for a, b in stretches(SUM)]
    at = texts.index("if x < 0:")
    loss = (sum(good.passed) - sum(bad.passed)) / len(good.passed)
    assert loss > 0
    assert good.drops_K[at] == pytest.approx(2 / 3 * loss), "two of the three others slip there"
    assert bad.drops_K[at] == same.drops_K[at] == pytest.approx(-2 / 3 * loss), "two of the three others do not"
    assert other.drops_K[at] == pytest.approx(2 / 3 * loss)
    assert all(drop == 0 for one in (good, bad) for k, drop in enumerate(one.drops_K) if k != at)
    codes = [code for some in run.seen for code in some]
    assert len(codes) == len(set(map(fingerprint, codes))), "none is run twice"


def test_two_right_programs_that_name_their_variables_otherwise_earn_nothing_by_it(run):
    other = SUM.replace("total", "result")
    for found in exchange_drops([Program("sum", code, stretches(code)) for code in (SUM, other)], run):
        assert all(found.passed)
        assert set(found.drops_K) == {0.0}


def test_those_that_part_before_a_statement_say_nothing_of_it(run):
    early = SUM.replace("total = 0", "total = 1").replace("x < 0", "x > 0")
    (good, _) = exchange_drops([Program("sum", code, stretches(code)) for code in (SUM, early)], run)
    texts = [SUM[a:b].strip() for a, b in stretches(SUM)]
    assert good.drops_K[texts.index("total = 0")] == 1.0
    assert good.drops_K[texts.index("if x < 0:")] == 0.0


def test_partners_are_exchanged_with_and_not_asked_about(run):
    slip = SUM.replace("x < 0", "x > 0")
    mine, theirs = (Program("sum", code, stretches(code)) for code in (SUM, slip))
    (found,) = exchange_drops([mine], run, partners=[theirs])
    assert max(found.drops_K) == exchange_drops([mine, theirs], run)[0].drops_K[6] > 0


def test_a_stretch_that_holds_several_statements_gets_the_sum_of_their_drops(run):
    slip = SUM.replace("x < 0", "x > 0")
    begin, end = SUM.index("for x"), SUM.index("total += x")
    (whole, _) = exchange_drops([Program("sum", SUM, ((begin, end),)), Program("sum", slip, ())], run)
    (single, _) = exchange_drops([Program("sum", code, stretches(code)) for code in (SUM, slip)], run)
    assert whole.drops_K == (pytest.approx(max(single.drops_K)),)


def test_a_program_alone_and_programs_of_other_problems_exchange_nothing(run):
    alone = [Program("sum", SUM, stretches(SUM)), Program("another", SUM, stretches(SUM))]
    for found in exchange_drops(alone, run):
        assert set(found.drops_K) == {0.0}


def test_what_cancels_is_exactly_nothing():
    passed = {"a": (True,) * 4 + (False,) * 6, "b": (True,) * 3 + (False,) * 7, "c": (True,) * 5 + (False,) * 5}

    def run(pairs):
        return [(passed[code], True) for _, code in pairs]

    (found, *_) = exchange_drops([Program("p", code, ((0, 1),)) for code in passed], run)
    assert found.drops_K == (0.0,)


def test_what_the_machine_had_a_part_in_is_run_again(run):
    cache = {}
    run.final = False
    try:
        execution_drops([Program("sum", SUM, ())], run, cache)
        assert not cache
    finally:
        run.final = True
    execution_drops([Program("sum", SUM, ())], run, cache)
    assert len(cache) == 1


def parts_at(code, other):
    return exchanged(code, statements(code), other, statements(other))


@pytest.mark.parametrize(
    ("code", "other"),
    [
        ("total = text.count('a')\n", "count = text.count('a')\n"),
        ("x = 1\nreturned('x', x=x)\n", "n = 1\nreturned('x', x=n)\n"),
        ("def f(a):\n    return f'{a}'\n", "def f(b):\n    return f'{b}'\n"),
        ("def f(*a, k=1, **c): return k\n", "def f(*b, l=1, **d): return l\n"),
        ("import math as m\nm.pi\n", "import math as n\nn.pi\n"),
        ("try:\n  a()\nexcept E as e:\n  b(e)\n", "try:\n  a()\nexcept E as x:\n  b(x)\n"),
        ("def f():\n  def g(): pass\n  return g()\n", "def f():\n  def h(): pass\n  return h()\n"),
        ("match x:\n  case [a, *b]:\n    c(a, b)\n", "match x:\n  case [p, *q]:\n    c(p, q)\n"),
        ("a = 1\nc = 2\nr(c)\n", "b = 1\nb = 2\nr(b)\n"),
        ("a = 1\nb = 2\nr(a)\n", "b = 1\na = 2\nr(b)\n"),
    ],
)
def test_whatever_binds_a_name_may_call_it_otherwise(code, other):
    assert parts_at(code, other) == Exchange(len(statements(code)), None)


@pytest.mark.parametrize(
    ("code", "other", "alike", "expected"),
    [
        # `a` of the other is no longer there in the one, which gave its place to another value
        ("a = 1\na = 2\nr(a)\n", "a = 1\nb = 2\nr(a)\n", 2, None),
        # `sum` is a variable here and Python's own there
        ("sum = 1\nr(sum)\n", "x = 1\nr(sum)\n", 1, None),
        # other imports are other things
        ("import math\nr(1)\n", "import cmath\nr(1)\n", 0, "import cmath\nr(1)\n"),
        ("a = 1; r(a)\n", "b = 2\nr(b)\n", 0, "a = 2; r(a)\n"),
        ("a = 1\nr(a)\n", "b = 1; r(b + 1);\n", 1, "a = 1\nr(a + 1)\n"),
    ],
)
def test_names_are_matched_one_to_one(code, other, alike, expected):
    assert parts_at(code, other) == Exchange(alike, expected)


def test_an_exchange_that_only_the_compiler_refuses_counts_for_neither():
    code = "def f(a):\n    for x in (a,):\n        continue\n"
    assert parts_at(code, "def f(a):\n    if a:\n        pass\n") == Exchange(1, None)


def test_the_header_of_a_function_that_nobody_calls_is_worth_nothing(run):
    code = f"def helper(x):\n    return x\n{SUM}"
    (found,) = execution_drops([Program("sum", code, stretches(code))], run)
    assert found.drops_K[:2] == (0.0, 0.0)


def test_every_statement_of_a_program_is_read_alone():
    code = """
@d
class C(B):
    async def f(self):
        try:
            with a as b: pass
        except* E as e:
            raise
        else:  # nothing
            pass
        finally:
            del b
        match x:
            case (
                1 | 2
            ): pass
            case _: pass
        while x:  # as long as it goes
            if x: break
            elif y: continue
            else: return (yield)
"""
    assert all(meaning(code[a:b]).startswith("Module(") for a, b in statements(code))
