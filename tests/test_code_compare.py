"""Comparison of what came out of the sandbox: what is right, what is not, and what must never be asked."""

import pytest

from spancredit.sandbox import Call, Opaque
from spancredit.tasks.code.compare import is_right
from spancredit.tasks.code.problem import CodeProblem

NAN, INF = float("nan"), float("inf")


def right(value, expected, how="equal", atol=0.0, args=()):
    return is_right(CodeProblem("p", "", "f", "", (Call(args),), (expected,), how, atol), 0, value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *((1, 1), (1.0, 1), (True, 1), (0, False), (10**400, 10**400), ("a", "a"), (b"a", b"a"), (None, None)),
        *((0.1 + 0.2, 0.3), (3, 3.0), (NAN, NAN), (INF, INF), (1 + 2j, 1 + 2j), (-0.0, 0.0)),
        *(([1, [0.30000000001]], [1, [0.3]]), ((1, 2), (1, 2)), ([], []), ([NAN], [NAN])),
        *(({"a": [0.3]}, {"a": [0.30000000001]}), ({1, 2}, {2, 1}), (frozenset({1}), {1}), ({}, {})),
    ],
)
def test_equal_values_are_right(value, expected):
    assert right(value, expected)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *(
            (2, 1),
            ("1", 1),
            (None, 0),
            (0, None),
            (0.3001, 0.3),
            (3, 3.0000001),
            (10**400, 1.0),
            (NAN, 1.0),
            (1.0, NAN),
        ),
        *((INF, -INF), (1.0, INF), (INF, 1e308), ("a", b"a"), (1e12 + 1, 10**12), (10**12 + 1, 10**12)),
        *(((1, 2), [1, 2]), ([1, 2], (1, 2)), ([1], [1, 2]), ([1, 2], [1]), ([2, 1], [1, 2]), ("ab", ["a", "b"])),
        *(({"a": 1}, {"a": 2}), ({"a": 1}, {"b": 1}), ({}, {"a": 1}), ({"a": 1}, {}), ([("a", 1)], {"a": 1})),
        *(({1}, {1, 2}), ([1, 2], {1, 2}), ({1: 1}, {1}), ([], None), ([], {}), ((), [])),
        *((Opaque("x.Any"), 1), (Opaque("x"), None), ([Opaque("x")], [1]), ({"a": Opaque("x")}, {"a": 1})),
    ],
)
def test_other_values_are_wrong(value, expected):
    assert not right(value, expected)


def test_the_tolerance_of_a_task_is_of_floats_alone():
    assert right(1.00005, 1.0, atol=1e-4)
    assert right([1.00005], [1.0], atol=1e-4)
    assert not right(1.0002, 1.0, atol=1e-4)
    assert not right(1.00005, 1, atol=1e-4)
    assert right(1e9 + 50, 1e9), "a relative tolerance of 1e-7"
    assert not right(1e9 + 200, 1e9)


@pytest.mark.parametrize(
    ("value", "same"),
    [
        *(([3, 1, 2, 1], True), ((1, 2, 3), True), ({1, 2, 3}, True), ([1, 2], False), ([1, 2, 3, 4], False)),
        *(("123", False), (None, False), ([1, 2, [3]], False), ([1, 2, Opaque("x")], False)),
        ({1: 1, 2: 2, 3: 3}, False),
    ],
)
def test_sets_have_no_order_and_no_number(value, same):
    assert right(value, [1, 2, 3], "set") is same


def test_elements_of_a_value_are_never_compared_with_each_other():
    """Ints that share a hash would take a time that grows with the square of their number."""
    compared = []

    class Counted:
        def __hash__(self):
            return 1

        def __eq__(self, other):
            compared.append(other)
            return False

    assert not right([1, 2, *(Counted() for _ in range(1000))], [1, 2], "set")
    assert not any(isinstance(other, Counted) for other in compared)
    assert compared, "they were compared with what is expected"


@pytest.mark.parametrize(
    ("how", "args", "expected", "accepted", "refused"),
    [
        ("sequence", (), [1, 2], ([1, 2], (1, 2)), ([2, 1], {1, 2}, "12", None)),
        ("match", (), Opaque("re.Match"), (True, Opaque("re.Match"), "found"), (None, False)),
        ("match", (), None, (None, False), (True, Opaque("re.Match"), "found", 0)),
        ("root", ([-6.0, 1.0, 1.0],), 2.0, (2.0, 2, -3, 2.000001), (0.0, None, NAN, INF, 10**400, "2", Opaque("x"))),
        ("digits", (1, 23), 1, (1, 4, 4.0), (2, None, Opaque("x"))),
        ("pyramid", (3, 4), 33, (33, 35, 35.0), (34, None, "35")),
    ],
)  # fmt: skip
def test_what_evalplus_accepts_of_a_few_tasks(how, args, expected, accepted, refused):
    for value in accepted:
        assert right(value, expected, how, 1e-4, args), value
    for value in refused:
        assert not right(value, expected, how, 1e-4, args), value
