"""The sandbox with honest candidates, and with those that fail: what comes back, and what is said of the rest."""

import math
import os
import signal
import struct
import sys
import threading
import time
import warnings
from dataclasses import replace

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spancredit.errors import SandboxError, UnknownNameError
from spancredit.sandbox import Call, Candidate, Opaque, Sandbox, command, levels
from spancredit.sandbox.inside import child, landlock, wire

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox needs Linux")

LARGE = 1 << 20
ADD = Candidate(
    "def add(a, b=1):\n    return a + b\n", "add", (Call((1, 2)), Call((1,)), Call((), {"a": "x", "b": "y"}))
)


@pytest.fixture(scope="module")
def box():
    with Sandbox(seconds=20.0) as one:
        yield one


DEEP = """
import sys
def f():
    sys.setrecursionlimit(10**9)
    x = []
    for _ in range(10**6): x = [x]
    repr(x)
"""


def outcome_of(box, code, *calls):
    (outcome,) = box.run([Candidate(code, "f", calls or (Call(),))])
    return outcome


def value_of(box, code, *args):
    outcome = outcome_of(box, code, Call(args))
    (result,) = outcome.results
    assert (outcome.status, result.status) == ("done", "value"), outcome
    return result.value


# -- the wire


numbers = st.integers() | st.floats(allow_nan=False) | st.complex_numbers(allow_nan=False)  # nan equals nothing
scalars = st.none() | st.booleans() | numbers | st.text() | st.binary()
hashables = st.recursive(scalars, lambda inner: st.tuples(inner) | st.frozensets(inner, max_size=3), max_leaves=5)
values = st.recursive(
    hashables,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.sets(hashables, max_size=4)
        | st.dictionaries(hashables, inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(values)
def test_values_come_back_as_they_were(value):
    back = wire.decode(wire.encode(value, LARGE))
    assert back == value
    assert type(back) is type(value)


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_a_value_or_refused(data):
    try:
        value = wire.decode(data)
    except wire.WireError:
        return
    assert type(value) in (type(None), bool, int, float, complex, str, bytes, list, tuple, set, frozenset, dict, Opaque)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "cut off"),
        (b"NN", "expected 1 bytes"),
        (b"?", "unknown tag"),
        (b"f\0", "cut off"),
        (b"l\xff\xff\xff\xff", "cut off"),
        (b"i\0\0\0\x05\x01", "cut off"),
        (b"s\0\0\0\x01\xff", "broken value"),
        (b"S\0\0\0\x01l\0\0\0\0", "hashed"),
        (b"d\0\0\0\x01l\0\0\0\0N", "hashed"),
        (b"l\0\0\0\x01" * 200 + b"N", "nested deeper"),
    ],
)
def test_broken_bytes_are_refused(data, said):
    with pytest.raises(wire.WireError, match=said):
        wire.decode(data)


@pytest.mark.parametrize("kind", [b"S", b"Z", b"d"])
def test_elements_that_collide_are_refused_at_once(kind):
    numbers = [wire.encode(i * (2**61 - 1), LARGE) for i in range(20_000)]  # their hash is 0
    elements = b"".join(one + b"N" if kind == b"d" else one for one in numbers)
    with pytest.raises(wire.WireError, match="of one hash"):
        wire.decode(kind + struct.pack(">I", len(numbers)) + elements)


def test_an_opaque_equals_nothing():
    one = Opaque("re.Match")
    assert one != one
    assert one not in ([], None, "re.Match", Opaque("re.Match"))
    assert {one: 1} != {Opaque("re.Match"): 1}


# -- results


def test_calls_return_values_with_positional_and_keyword_arguments(box):
    (outcome,) = box.run([ADD])
    assert outcome.status == "done"
    assert [result.value for result in outcome.results] == [3, 2, "xy"]
    assert 0 < outcome.cpu_seconds < outcome.seconds + 1


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("-(1 << 64)", -(1 << 64)),
        ("'\\ud800' + chr(0)", "\ud800\0"),
        ("(1, [2, {3}], {4: b'5'})", (1, [2, {3}], {4: b"5"})),
        ("collections.Counter('aab')", {"a": 2, "b": 1}),
        ("collections.namedtuple('P', 'x y')(1, 2)", (1, 2)),
        ("collections.OrderedDict(a=1)", {"a": 1}),
        ("enum.IntEnum('E', 'A').A", 1),
        ("type('S', (str,), {'__eq__': lambda *_: True, '__hash__': str.__hash__})('lie')", "lie"),
        ("type('I', (int,), {'__eq__': lambda *_: True, '__index__': lambda _: 7})(3)", 3),
        ("type('L', (list,), {'__iter__': lambda _: iter([9])})([1])", [1]),
        ("type('D', (dict,), {'items': lambda _: [(9, 9)]})({1: 2})", {1: 2}),
        ("type('B', (bytes,), {'__getitem__': lambda *_: b'9'})(b'1')", b"1"),
        ("type('F', (float,), {'__float__': lambda _: 9.0})(1.5)", 1.5),
    ],
)
def test_a_value_is_what_a_builtin_holds(box, expression, expected):
    value = value_of(box, f"import collections, enum\ndef f(): return {expression}")
    assert value == expected
    assert type(value) is type(expected)


def test_an_integer_may_be_longer_than_its_decimal_limit(box):
    difference = value_of(box, "def f(): return -10 ** 100000") + 10**100000
    assert difference == 0


def test_nan_is_a_float_and_infinity_too(box):
    value = value_of(box, "def f(): return [float('nan'), float('-inf'), complex('nan')]")
    assert math.isnan(value[0])
    assert value[1] == -math.inf


@pytest.mark.parametrize(
    ("expression", "name"),
    [
        ("object()", "object"),
        ("(i for i in range(3))", "generator"),
        ("re.match('a', 'a')", "re.Match"),
        ("range(3)", "range"),
        ("f", "function"),
        ("type('X', (), {'__eq__': lambda *_: True, '__class__': int})()", "X"),
        ("type('\\n' * 500, (), {})()", "?" * wire.LONGEST_NAME),
    ],
)
def test_anything_else_is_an_opaque(box, expression, name):
    value = value_of(box, f"import re\ndef f(): return {expression}")
    assert isinstance(value, Opaque)
    assert value.type_name == name


@pytest.mark.parametrize(
    ("expression", "status", "detail"),
    [
        ("1 / 0", "raised", "ZeroDivisionError"),
        ("f()", "raised", "RecursionError"),
        ("sys.exit(0)", "raised", "SystemExit"),
        ("exec('raise KeyboardInterrupt')", "raised", "KeyboardInterrupt"),
        ("bytearray(1 << 40)", "raised", "MemoryError"),
        ("json.loads('{')", "raised", "json.decoder.JSONDecodeError"),
        ("exec('x = []\\nfor _ in range(500): x = [x]') or (lambda x: x.append(x) or x)([])", "unsendable", "deeper"),
        ("'x' * (5 << 20)", "unsendable", "larger than"),
    ],
)
def test_what_is_no_value_says_why_and_later_calls_go_on(box, expression, status, detail):
    code = f"import json, sys\ndef f(go=True): return ({expression}) if go else 'later'"
    outcome = outcome_of(box, code, Call(), Call((False,)))
    assert outcome.status == "done"
    first, second = outcome.results
    assert first.status == status
    assert detail in first.detail
    assert (second.status, second.value) == ("value", "later")


@pytest.mark.parametrize(
    ("code", "status", "detail"),
    [
        ("def f(:", "broken", "SyntaxError"),
        ("raise ValueError", "broken", "ValueError"),
        ("import sys; sys.exit(0)", "broken", "SystemExit"),
        ("import numpy", "broken", "ModuleNotFoundError"),
        ("g = 1", "missing", ""),
        ("f = 1", "missing", ""),
        ("import os\ndef f(): os._exit(7)", "exited", "exit code 7"),
        ("import os\nos._exit(0)", "exited", "exit code 0"),
        ("import os\ndef f(): os.abort()", "crashed", "SIG"),
        pytest.param(DEEP, "crashed", "SIGSEGV", marks=pytest.mark.slow),
        ("import ctypes\ndef f(): ctypes.string_at(0)", "crashed", "SIGSEGV"),
    ],
)
def test_a_failure_has_a_name(box, code, status, detail):
    outcome = outcome_of(box, code)
    assert outcome.status == status, outcome
    assert detail in outcome.detail
    assert [result.status for result in outcome.results] == ["unfinished"]


def test_the_standard_library_can_be_imported(box):
    names = (
        "argparse array ast asyncio bz2 calendar csv ctypes difflib email lzma sqlite3 ssl textwrap unittest uuid zlib"
    )
    code = f"def f(): return [__import__(name).__name__ for name in {names.split()}]"
    assert value_of(box, code) == names.split()


def test_dataclasses_and_annotations_of_the_candidate_work(box):
    code = "from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\n"
    assert value_of(box, code + "def f(): return P(3).x, P.__module__, __name__") == (3, "candidate", "candidate")


def test_sets_have_the_same_order_in_every_zygote():
    code = "def f(): return list({str(i) for i in range(50)})"
    orders = []
    for _ in range(2):
        with Sandbox() as box:
            orders.append(value_of(box, code))
    assert orders[0] == orders[1]


# -- limits


@pytest.mark.slow
def test_results_before_a_hang_are_kept_and_the_visit_has_a_deadline():
    code = "import time\ndef f(n):\n    while n == 2: time.sleep(1)\n    return n"
    with Sandbox(seconds=2.0) as box:
        outcome = outcome_of(box, code, *(Call((n,)) for n in range(5)))
        assert outcome.status == "timeout"
        assert [result.status for result in outcome.results] == ["value", "value"] + ["unfinished"] * 3
        assert value_of(box, "def f(): return 1") == 1


@pytest.mark.slow
def test_processor_time_is_limited():
    with Sandbox(seconds=60.0, cpu_seconds=1) as box:
        outcome = outcome_of(box, "def f():\n    while True: pass")
        assert (outcome.status, outcome.detail) == ("cpu", "1 s")


@pytest.mark.slow
def test_a_candidate_can_have_less_processor_time_than_the_others():
    forever, undone = (
        "def f():\n    while True:\n        pass",
        "import signal\nsignal.setitimer(signal.ITIMER_PROF, 0)\n",
    )
    with Sandbox(seconds=60.0, cpu_seconds=1) as box:
        short, long, stubborn, honest = box.run(
            [
                Candidate(forever, "f", (Call(),), cpu_seconds=0.2),
                Candidate(forever, "f", (Call(),), cpu_seconds=20),
                Candidate(undone + forever, "f", (Call(),), cpu_seconds=0.2),
                Candidate("def f():\n    return 1", "f", (Call(),), cpu_seconds=0.2),
            ]
        )
        assert (short.status, short.detail) == ("cpu", "0.2 s")
        assert short.cpu_seconds < long.cpu_seconds
        assert (long.status, long.detail) == ("cpu", "1 s"), "never more than the sandbox's"
        assert stubborn.status == "cpu"
        assert stubborn.cpu_seconds > 2 * short.cpu_seconds, "one that takes its timer off meets the limit of a second"
        assert honest.status == "done"
        with pytest.raises(SandboxError, match="cpu_seconds is 0; expected a number above 0"):
            box.run([Candidate("def f(): pass", "f", (Call(),), cpu_seconds=0)])


@pytest.mark.slow
@pytest.mark.parametrize("limit", [0.05, 0.7, 1.5])
def test_the_timer_of_a_candidate_is_told_from_a_crash(limit):
    with Sandbox(seconds=60.0, cpu_seconds=3) as box:
        (outcome,) = box.run([Candidate("def f():\n    while True: pass", "f", (Call(),), cpu_seconds=limit)])
    assert (outcome.status, outcome.detail) == ("cpu", f"{limit:g} s")


@pytest.mark.slow
def test_one_with_little_processor_time_may_not_sleep_for_as_long_as_the_others():
    began = time.monotonic()
    with Sandbox(seconds=300.0) as box:
        sleeps = "import time\ndef f(): time.sleep(1000)"
        (outcome,) = box.run([Candidate(sleeps, "f", (Call(),), cpu_seconds=0.1)])
    assert outcome.status == "timeout"
    assert time.monotonic() - began < 200  # the visit's


def test_signals_that_the_parent_ignores_still_end_a_candidate():
    before = signal.signal(signal.SIGPROF, signal.SIG_IGN)
    try:
        with Sandbox(seconds=60.0, cpu_seconds=20) as box:
            (outcome,) = box.run([Candidate("def f():\n    while True: pass", "f", (Call(),), cpu_seconds=0.2)])
    finally:
        signal.signal(signal.SIGPROF, before)
    assert outcome.status == "cpu"
    assert outcome.cpu_seconds < 10


def test_results_larger_than_permitted_in_all_are_not_sent():
    with Sandbox(output=1000) as box:
        outcome = outcome_of(box, "def f(): return 'x' * 400", Call(), Call(), Call())
    assert [result.status for result in outcome.results] == ["value", "value", "unsendable"]


@pytest.mark.slow
def test_large_arguments_and_results_pass(box):
    numbers = list(range(300_000))
    assert value_of(box, "def f(x): return x[::-1]", numbers) == numbers[::-1]


# -- several


def test_outcomes_keep_their_order_over_several_processes():
    code = "import time\ndef f(n):\n    time.sleep(0.2 if n % 3 == 0 else 0)\n    return n"
    with Sandbox(processes=3, seconds=30.0) as box:
        outcomes = box.run([Candidate(code, "f", (Call((n,)),)) for n in range(12)])
    assert [outcome.results[0].value for outcome in outcomes] == list(range(12))


def test_variants_share_calls_and_no_state(box, monkeypatch):
    encoded = []
    whole = levels.encoded_calls
    monkeypatch.setattr("spancredit.sandbox.sandbox.encoded_calls", lambda calls: encoded.append(calls) or whole(calls))
    first = "import builtins, sys\nsys.modules['json'] = None\nbuiltins.seen = True\ndef f(x): x.append(1); return x"
    second = "import builtins, json\ndef f(x): return hasattr(builtins, 'seen'), x"
    program = Candidate(first, "f", (Call(([],)), Call(([],))))
    outcomes = box.run([program, replace(program, code=second)])
    assert [one.value for one in outcomes[0].results] == [[1], [1]]
    assert [one.value for one in outcomes[1].results] == [(False, []), (False, [])]
    assert encoded == [program.calls]


def test_threads_may_share_a_sandbox():
    with Sandbox(processes=2, seconds=30.0) as box:
        values: list[object] = []
        threads = [threading.Thread(target=lambda: values.append(value_of(box, "def f(): return 1"))) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert values == [1] * 6


# -- the zygote


def alive(process):
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def children(but=()):
    """Of this process, by their number: a clock that is set anew changes when a process seems to have begun."""
    return {one.pid: one for one in psutil.Process().children(recursive=True) if one.pid not in but}


@pytest.mark.slow
def test_a_zygote_that_dies_is_started_again_said_once_and_counted():
    others = children()
    with Sandbox("landlock", seconds=30.0) as box, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _kill_while_it_runs(box, others)
        _kill_while_it_runs(box, others)
        assert box.restarts == 2
    assert [str(one.message) for one in caught if "started again" in str(one.message)] == [str(caught[0].message)]


def _kill_while_it_runs(box, others):
    (zygote,) = children(but=others).values()
    orphans: list[psutil.Process] = []
    survivors: list[psutil.Process] = []

    def kill():
        orphans.extend(zygote.children())
        zygote.kill()
        time.sleep(0.5)
        survivors.extend(one for one in orphans if alive(one))

    timer = threading.Timer(0.5, kill)
    timer.start()
    assert value_of(box, "import time\ndef f(): time.sleep(2.5); return 'again'") == "again"
    timer.join()
    assert len(orphans) == 1
    assert not survivors


def test_a_candidate_whose_zygote_dies_twice_is_lost(monkeypatch):
    others = children()
    with Sandbox("landlock") as box:
        (zygote,) = children(but=others).values()
        zygote.kill()
        monkeypatch.setattr("spancredit.sandbox.sandbox.started", lambda name: _dying(levels.started(name)))
        with pytest.warns(UserWarning, match="started again"):
            (outcome,) = box.run([ADD])
        assert outcome.status == "lost"
        assert [result.status for result in outcome.results] == ["unfinished"] * 3
        monkeypatch.undo()
        assert box.run([ADD])[0].status == "done"
        assert box.restarts == 2


def _dying(zygote):
    zygote._process.kill()
    zygote._process.wait()
    return zygote


def test_an_interrupted_visit_leaves_no_reply_for_the_next(monkeypatch):
    with Sandbox() as box:
        with monkeypatch.context() as patch:
            patch.setattr("spancredit.sandbox.conversation.Conversation.hold", _interrupted)
            with pytest.raises(KeyboardInterrupt):
                box.run([ADD])
        assert box.run([ADD])[0].results[0].value == 3


def _interrupted(conversation):
    raise KeyboardInterrupt


def test_nothing_is_left_when_it_closes():
    descriptors, processes = len(os.listdir("/proc/self/fd")), len(psutil.Process().children(recursive=True))
    with Sandbox(processes=2) as box:
        box.run([ADD] * 4)
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert len(psutil.Process().children(recursive=True)) == processes


@pytest.mark.slow
def test_nothing_is_left_when_its_owner_is_killed():
    read, write = os.pipe()
    owner = os.fork()
    if not owner:
        try:
            with Sandbox() as box:
                inside = psutil.Process().children(recursive=True)
                os.write(write, struct.pack(f"{len(inside)}q", *(one.pid for one in inside)))
                outcome_of(box, "import time\ndef f(): time.sleep(1000)")
        finally:
            os._exit(1)
    pids = [pid for (pid,) in struct.iter_unpack("q", os.read(read, 4096))]
    os.kill(owner, signal.SIGKILL)
    os.waitpid(owner, 0)
    os.close(read)
    os.close(write)
    _, alive = psutil.wait_procs([psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)], timeout=20)
    assert pids
    assert not alive


# -- levels and errors


def test_the_level_is_said():
    with Sandbox() as box:
        assert box.level.startswith(("bubblewrap: namespaces", "landlock: Landlock (ABI"))
    with Sandbox("none") as box:
        assert box.level.startswith("none: candidates run unconfined")
        assert value_of(box, "import os\ndef f(): return len(os.listdir('/')) > 0")


def test_without_any_level_the_error_says_what_is_missing(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(command, "plain", lambda control, confined: ["/bin/sh", "-c", "echo 'no Landlock here' >&2"])
    with (
        pytest.raises(SandboxError, match=r"bubblewrap: there is no program 'bwrap'.*; landlock: no Landlock here\)"),
        Sandbox(),
    ):
        pass


def test_the_weaker_level_says_why_the_stronger_was_not_taken(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with Sandbox() as box:
        assert box.level.startswith("landlock: ")
        assert "no program 'bwrap'" in box.level


@pytest.mark.parametrize(
    ("change", "said"),
    [({"processes": 0}, "at least 1 process"), ({"seconds": 0}, "above 0"), ({"memory": 0}, "above 0")],
)
def test_limits_that_are_none_are_refused(change, said):
    with pytest.raises(SandboxError, match=said):
        Sandbox(**change)


def test_an_unknown_level_is_refused():
    with pytest.raises(UnknownNameError, match=r"'landlok'; expected one of .*'landlock'"):
        Sandbox("landlok")


@pytest.mark.parametrize("args", [(object(),), ([{1: range(3)}],), (Opaque("x"),)])
def test_an_argument_that_is_no_builtin_is_refused(box, args):
    with pytest.raises(SandboxError, match=r"argument of call 1 .*no builtin"):
        box.run([Candidate("", "f", (Call(), Call(args)))])


def test_code_that_is_too_long_or_no_text_is_said(box):
    with pytest.raises(SandboxError, match="the code cannot be sent into the sandbox: it is larger"):
        outcome_of(box, "#" * (65 << 20))
    assert outcome_of(box, "a = '\0'").detail in ("SyntaxError", "ValueError")
    assert outcome_of(box, "a = '\ud800'").detail == "UnicodeEncodeError"


def test_a_signal_without_a_name_is_said():
    with Sandbox("none") as box:
        assert outcome_of(box, "import os\ndef f(): os.kill(os.getpid(), 40)").detail == "signal 40"


def test_a_sandbox_is_used_open_and_where_it_was_opened(box):
    with pytest.raises(SandboxError, match="not open"):
        Sandbox().run([ADD])
    with pytest.raises(SandboxError, match="open already"):
        box.__enter__()
    other = Sandbox()
    with other:
        pass
    with pytest.raises(SandboxError, match="not open"):
        other.run([ADD])
    forked = os.fork()
    if not forked:
        try:
            box.run([ADD])
        except SandboxError:
            os._exit(3)
        finally:
            os._exit(4)
    assert os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1]) == 3


def test_a_thread_that_waits_when_it_closes_is_told():
    said: list[object] = []

    def wait():
        try:
            said.append(value_of(box, "def f(): return 1"))
        except SandboxError as error:
            said.append(str(error))

    box = Sandbox("landlock", seconds=30.0).open()
    taken = box._free.get()
    threads = [threading.Thread(target=wait) for _ in range(2)]
    for thread in threads:
        thread.start()
    while box._free.qsize() or not all(thread.is_alive() for thread in threads):
        time.sleep(0.01)
    box._free.put(taken)
    box.close()
    for thread in threads:
        thread.join(60)
    assert len(said) == 2
    assert all(one == 1 or "not open" in str(one) for one in said), said


def test_the_names_of_blocks_are_distinct():
    assert (
        len({child.DEFINED, child.BROKEN, child.MISSING, child.VALUE, child.RAISED, child.UNSENDABLE, child.END}) == 7
    )


def test_landlock_speaks_here_where_the_tests_expect_it():
    assert landlock.abi() >= 1
