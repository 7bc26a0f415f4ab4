"""The sandbox against programs that attack it, at both levels. What they did is looked for on this side of it."""

import ctypes
import os
import platform
import shutil
import sys
import sysconfig
import threading
from pathlib import Path

import psutil
import pytest
from attacks_for_tests import BOMBS, BREACHES, ENDLESS, NUISANCES, OTHER_ABIS, TRY, Watch, World, below, end

from spancredit.errors import SandboxError
from spancredit.sandbox import Call, Candidate, Sandbox, command, levels
from spancredit.sandbox.inside import landlock
from spancredit.sandbox.process import Zygote
from spancredit.sandbox.visit import Limits, encoded_calls, visit

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="the sandbox needs Linux")]

MIB = 1 << 20
SUBREAPER = 36
LOOK = (
    TRY
    + """
def f(w):
    path = w['path'].replace('{parent}', str(os.getppid()))
    return attempt(lambda: read(path)), attempt(lambda: os.listdir(path))
"""
)
HONEST = Candidate("def f(x): return x + 1", "f", (Call((1,)),))


def works(level: str) -> str:
    """Empty if it does, else why not."""
    try:
        with Sandbox(level):
            return ""
    except SandboxError as error:
        return str(error)


@pytest.fixture(scope="module", params=["bubblewrap", "landlock"])
def box(request):
    if reason := works(request.param):
        pytest.skip(reason)
    with Sandbox(request.param, seconds=10.0) as one:
        yield one


@pytest.fixture
def world(tmp_path):
    one = World(tmp_path)
    yield one
    one.close()


@pytest.fixture(autouse=True)
def same_processes(request):
    """No test leaves a process behind."""
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)  # what outlives a zygote stays below this process, and is found
    if "box" in request.fixturenames:
        request.getfixturevalue("box")
    before = below()
    yield
    assert not end(below() - before)


def attacked(box, code, facts=None):
    """The outcome of an attack, after which an honest candidate must be served by the same zygote."""
    (outcome,) = box.run([Candidate(code, "f", (Call((facts or {},)),))])
    (after,) = box.run([HONEST])
    assert (after.status, after.results[0].value) == ("done", 2)
    assert box.restarts == 0
    return outcome


@pytest.mark.parametrize("name", BREACHES)
def test_a_breach_is_stopped(box, world, name):
    outcome = attacked(box, BREACHES[name], world.facts())
    assert world.breaches(outcome) == []
    assert outcome.status == "done"


@pytest.mark.parametrize("name", BREACHES)
def test_the_same_breach_succeeds_without_confinement(world, name):
    before = below()
    with Sandbox("none", seconds=20.0) as box:
        (outcome,) = box.run([Candidate(BREACHES[name], "f", (Call((world.facts(),)),))])
        breaches = world.breaches(outcome)
    breaches += end(below() - before)
    if name in ("memory of another", "trace another, and end with it") and not breaches:
        pytest.skip(f"this machine stops it by itself: {outcome}")
    assert breaches


@pytest.mark.parametrize("name", NUISANCES)
def test_a_nuisance_changes_nothing(box, world, name):
    outcome = attacked(box, NUISANCES[name], world.facts())
    assert world.breaches(outcome) == []
    (result,) = outcome.results
    if isinstance(result.value, list):  # of attempts: what the calls gave, or what they raised
        assert {said for said in result.value if not said.endswith("Error")} <= {"-1"}, result


@pytest.mark.parametrize(
    "path",
    [
        *("/etc/passwd", "/etc/hostname", "/proc/1/environ", "/proc/self/environ", "/proc/self/mem", "/proc/self/maps"),
        *("/", "/tmp", "/proc", "/dev", "/sys", "/home", "{home}", "{package}", "{data}", "{inside}", "{errors}"),
        *(
            "{site}",
            "/dev/null",
            "/dev/zero",
            "/dev/shm",
            "/usr/bin/env",
            "/proc/{parent}/mem",
            "/proc/{parent}/cmdline",
        ),
    ],
)
def test_nothing_but_the_standard_library_is_read(box, world, path):
    site = next(one for one in sys.path if one.endswith("site-packages"))
    facts = world.facts() | {"site": site, "inside": str(command.INSIDE / "zygote.py"), "errors": levels.__file__}
    path = path if "{parent}" in path else path.format(**facts)
    outcome = attacked(box, LOOK, {"path": path})
    assert set(outcome.results[0].value) <= {"PermissionError", "FileNotFoundError", "NotADirectoryError"}, outcome


def test_site_packages_of_the_interpreter_are_not_read(box):
    path = os.path.join(sysconfig.get_path("stdlib"), "site-packages", "README.txt")
    assert attacked(box, LOOK, {"path": path}).results[0].value[0] in ("PermissionError", "FileNotFoundError")


def test_the_environment_is_empty(box):
    code = "import os, ctypes\ndef f(w): return dict(os.environ), ctypes.CDLL(None).getenv(b'HOME')"
    assert attacked(box, code).results[0].value == ({}, 0)


def test_a_candidate_has_no_capability_and_few_limits_to_reach(box):
    """As the kernel says of its process, from this side."""
    before = below()
    thread = threading.Thread(target=attacked, args=(box, "import time\ndef f(w): time.sleep(2)"))
    thread.start()
    while not (new := below() - before) or "Seccomp:\t2" not in (status := _status(new)):
        assert thread.is_alive()
    limits = {name: psutil.Process(next(iter(new)).pid).rlimit(getattr(psutil, f"RLIMIT_{name}")) for name in LIMITS}
    thread.join()
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert f"{name}:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
    assert limits == LIMITS


LIMITS = {
    "FSIZE": (0, 0),
    "CORE": (0, 0),
    "NOFILE": (64, 64),
    "MEMLOCK": (0, 0),
    "AS": (512 * MIB,) * 2,
    "CPU": (10, 11),
}


def _status(processes):
    return "".join(Path(f"/proc/{one.pid}/status").read_text() for one in processes)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="this machine has one ABI")
@pytest.mark.parametrize("name", OTHER_ABIS)
def test_another_abi_is_no_way_around_the_list(box, name):
    outcome = attacked(box, OTHER_ABIS[name])
    assert (outcome.status, outcome.detail) == ("crashed", "SIGSYS")


@pytest.mark.parametrize("name", ENDLESS)
def test_what_does_not_end_is_ended(box, name, monkeypatch):
    monkeypatch.setattr(box, "limits", Limits(seconds=1.5, cpu_seconds=10, memory=512 * MIB, output=MIB))
    assert attacked(box, ENDLESS[name]).status == "timeout"


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_does_not_go_off(box, name):
    base = len(below())
    with Watch() as watch:
        outcome = attacked(box, BOMBS[name])
    assert watch.processes <= base + 1
    assert watch.memory < 600 * MIB
    assert outcome.status in ("done", "crashed", "exited"), outcome
    assert outcome.results[0].status != "value" or outcome.results[0].value is None


def test_a_flood_of_print_goes_nowhere(box, monkeypatch, capfd):
    monkeypatch.setattr(box, "limits", Limits(seconds=1.5, cpu_seconds=10, memory=512 * MIB, output=MIB))
    code = "import os, sys\ndef f(w):\n    while True:\n        print('x' * 10**6)\n        os.write(2, b'x' * 10**6)"
    assert attacked(box, code).status == "timeout"
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("piece", ["b'\\0\\0\\0\\1D' + b'\\0\\0\\0\\2VN' * 10**6", "b'\\0\\0\\xff\\0' + b'D' * 10**6"])
def test_a_flood_of_the_channel_is_cut(box, monkeypatch, piece):
    monkeypatch.setattr(box, "limits", Limits(seconds=10, cpu_seconds=10, memory=512 * MIB, output=MIB))
    code = f"""
import os
while True:
    for fd in range(3, 64):
        try: os.write(fd, {piece})
        except OSError: pass
"""
    assert attacked(box, code).status in ("flood", "garbled")


def test_blocks_that_are_each_permitted_are_cut_when_they_are_too_much_together(box, monkeypatch):
    monkeypatch.setattr(box, "limits", Limits(seconds=10, cpu_seconds=10, memory=512 * MIB, output=MIB))
    code = FORGE + "text = b'Vs' + struct.pack('>I', 900_000) + b'x' * 900_000\nforge(b'D', *[text] * 9, b'E')"
    outcome, _ = box.run([Candidate(code, "f", (Call(),) * 9), HONEST])
    assert outcome.status == "flood"
    assert [len(one.value) for one in outcome.results if one.status == "value"] == [900_000]


# -- verdicts


FORGE = """
import os, struct
def block(content): return struct.pack('>I', len(content)) + content
def forge(*contents):
    os.write(3, b''.join(map(block, contents)))
    os._exit(0)
"""


@pytest.mark.parametrize(
    ("contents", "status", "results"),
    [
        ("b'D', b'VT', b'VT', b'E'", "done", [True, True]),  # no more than `return True` would say
        ("b'D', b'VT', b'VT', b'VT', b'E'", "garbled", [True, True]),
        ("b'D', b'VT', b'E'", "garbled", [True]),
        ("b'D', b'VT'", "exited", [True]),
        ("b'D', b'VT', b'VT'", "exited", [True, True]),
        ("b'D', b'VT', b'VT', b'E', b''", "garbled", [True, True]),
        ("b'D', b'VT', b'VT', b'EE'", "garbled", [True, True]),
        ("b'VT', b'VT', b'E'", "garbled", []),
        ("b'D', b'D', b'VT', b'E'", "garbled", []),
        ("b'D', b'VT', b'VTT', b'E'", "garbled", [True]),
        ("b'D', b'VT', b'V\\x80\\x04N.', b'E'", "garbled", [True]),  # a pickle
        ("b'', b''", "garbled", []),
        ("b'D', b'V' + b'l\\0\\0\\0\\1' * 9999 + b'N'", "garbled", []),
        ("b'D', b'Vl\\xff\\xff\\xff\\xff'", "garbled", []),
    ],
)
def test_forged_blocks_claim_no_more_than_a_return(box, contents, status, results):
    candidate = Candidate(f"{FORGE}forge({contents})\ndef f(): return False", "f", (Call(), Call()))
    outcome, after = box.run([candidate, HONEST])
    assert outcome.status == status, outcome
    assert [one.value for one in outcome.results if one.status == "value"] == results
    assert after.results[0].value == 2


def test_blocks_forged_before_the_true_ones_claim_no_more(box):
    code = FORGE + "def f():\n    os.write(3, block(b'VT') * 2 + block(b'E'))\n    return False"
    outcome, _ = box.run([Candidate(code, "f", (Call(), Call())), HONEST])
    assert outcome.status in ("done", "garbled")
    assert [one.value for one in outcome.results] == [True, True]


PATCHES = {
    "modules": """
import builtins, marshal, json, os
for m in (marshal, json, os):
    for n in ('dumps', 'loads', 'write', 'read'):
        if hasattr(m, n): setattr(m, n, lambda *_: b'VT')
builtins.len = lambda _: 1
def f(w): return False
""",
    "the wire": """
import sys
for name, module in list(sys.modules.items()):
    if name.startswith('inside.'):
        for n in ('encode', 'END', 'VALUE', '_write'):
            if hasattr(module, n): setattr(module, n, lambda *_: b'T')
def f(w): return False
""",
    "whatever gc finds": """
import gc
gc.unfreeze()
for o in gc.get_objects():
    if isinstance(o, dict) and '_called' in o: o.clear()
def f(w): return False
""",
    "frames": """
import sys
def f(w):
    frame = sys._getframe()
    while frame:
        for v in list(frame.f_locals.values()):
            if isinstance(v, list): v.append('passed')
        frame = frame.f_back
    return False
""",
    "tracing": """
import sys
def f(w):
    sys.settrace(lambda *_: None)
    sys.setprofile(lambda *_: None)
    return False
""",
}


@pytest.mark.parametrize("name", PATCHES)
def test_patching_its_own_process_passes_for_nothing(box, name):
    """The other side takes only what a candidate could have returned, or calls it a failure."""
    outcome = attacked(box, PATCHES[name])
    (result,) = outcome.results
    assert (outcome.status, result.value) == ("done", False) or outcome.status in ("exited", "garbled", "crashed")


SEARCH = """
import gc, sys
def f(prefix):
    gc.unfreeze()
    objects = [o for o in gc.get_objects() if type(o) is not list]
    seen = [repr(r)[:10**4] for o in objects for r in gc.get_referents(o) if type(r) in (str, bytes, list, tuple)]
    frame = sys._getframe().f_back
    while frame:
        seen += map(repr, frame.f_locals.values())
        frame = frame.f_back
    return len(seen), [s[:1000] for s in seen if prefix in s and 'prefix' not in s]
"""


def test_nothing_that_is_expected_or_of_others_is_in_its_process(box):
    secret = "other-" + os.urandom(8).hex()
    other = Candidate(f"text = '{secret}'\ndef f(x): return x * 2", "f", (Call((secret,)),))
    outcomes = box.run([other, other, Candidate(SEARCH, "f", (Call(("other" + "-",)),))])
    assert [outcome.status for outcome in outcomes] == ["done"] * 3, outcomes[2]
    count, _ = outcomes[2].results[0].value
    assert count > 1000
    assert secret not in repr(outcomes[2])


def test_no_code_argument_or_result_stays_in_the_zygote(box):
    secret = "kept-" + os.urandom(8).hex()
    code = f"text = '{secret}'\ndef f(x): return [x, text]"
    for _ in range(3):
        (outcome,) = box.run([Candidate(code, "f", (Call((secret,)),))])
        assert outcome.results[0].value == [secret, secret]
    zygote = max(below(), key=lambda one: one.create_time() + one.pid * 1e-9)
    memory = _memory_of(zygote.pid)
    assert b"inside import zygote" in memory  # it is the right process, and readable
    assert secret.encode() not in memory


def _memory_of(process: int) -> bytes:
    pieces = []
    try:
        with open(f"/proc/{process}/maps") as maps, open(f"/proc/{process}/mem", "rb", 0) as memory:
            for line in maps:
                start, end = (int(one, 16) for one in line.split()[0].split("-"))
                if "rw" in line and "[v" not in line:
                    memory.seek(start)
                    pieces.append(memory.read(end - start))
    except PermissionError as error:
        pytest.skip(f"its memory cannot be read from here: {error}")
    return b"".join(pieces)


# -- the tests themselves: with one piece of the confinement taken out, they notice


# where, what, what instead, and the attack that must notice
HOLES = {
    "landlock": ("zygote.py", "landlock.restrict(ruleset)", "pass", "read a file"),
    "seccomp": ("zygote.py", "seccomp.install(self.calls)", "pass", "udp"),
    "its list": ("seccomp.py", "code.append(_refuse(errno.EPERM))", "code.append(_answer(_ALLOW))", "leave a daemon"),
}


@pytest.fixture
def dig(tmp_path, monkeypatch):
    """Makes a hole, and returns the attack that must notice."""
    if reason := works("landlock"):
        pytest.skip(reason)

    def make(name):
        file, whole, broken, breach = HOLES[name]
        inside = shutil.copytree(command.INSIDE, tmp_path / "code" / "inside", ignore=shutil.ignore_patterns("*.pyc"))
        text = (inside / file).read_text()
        assert text.count(whole) == 1
        (inside / file).write_text(text.replace(whole, broken))
        monkeypatch.setattr(command, "INSIDE", Path(inside))
        return breach

    return make


def breaches_of(name, folder):
    """What an attack does in a zygote of the weaker level that no probe has tried."""
    folder.mkdir()
    world = World(folder)
    before = below()
    zygote = Zygote("landlock")
    try:
        candidate = Candidate(BREACHES[name], "f", (Call((world.facts(),)),))
        outcome = visit(zygote, candidate, encoded_calls(candidate.calls), Limits(10.0, 10, 512 * MIB, MIB))
        breaches = world.breaches(outcome)
    finally:
        zygote.close()
        world.close()
    return breaches + end(below() - before)


@pytest.mark.parametrize("hole", HOLES)
def test_a_hole_in_the_confinement_is_seen_by_its_attack(dig, hole, tmp_path):
    assert breaches_of(dig(hole), tmp_path / "world")


@pytest.mark.parametrize("name", ["read a file", "make a file", "remove", "tcp", "abstract socket", "kill another"])
def test_landlock_holds_without_seccomp(dig, name, tmp_path):
    if landlock.abi() < (6 if name in ("abstract socket", "kill another") else 4 if name == "tcp" else 1):
        pytest.skip(f"Landlock's ABI {landlock.abi()} does not know of this")
    dig("seccomp")
    assert breaches_of(name, tmp_path / "world") == []


@pytest.mark.parametrize(
    "name", ["tcp", "make a file", "overwrite", "remove", "kill another", "spawn", "leave a daemon"]
)
def test_seccomp_holds_without_landlock(dig, name, tmp_path):
    dig("landlock")
    assert breaches_of(name, tmp_path / "world") == []


@pytest.mark.parametrize("hole", HOLES)
def test_a_hole_in_the_confinement_stops_the_sandbox_from_starting(dig, hole):
    dig(hole)
    before = below()
    with pytest.raises(SandboxError, match="a probe inside could"), Sandbox("landlock"):
        pass
    end(below() - before)


def test_without_a_deadline_a_loop_would_go_on(box, monkeypatch):
    monkeypatch.setattr(box, "limits", Limits(seconds=30.0, cpu_seconds=2, memory=512 * MIB, output=MIB))
    assert attacked(box, ENDLESS["a loop"]).status == "cpu"


# -- ten thousand in a row


@pytest.mark.slow
def test_ten_thousand_candidates_leave_nothing(box, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    kinds = [
        HONEST.code,
        "def f(x): raise ValueError",
        "import os\ndef f(x): os._exit(1)",
        "import ctypes\ndef f(x): ctypes.string_at(0)",
        "def f(x): return 'x' * 10**5",
        "import os\nos.write(3, b'garbage' * 10)\ndef f(x): pass",
        "def f(",
    ]
    candidates = [Candidate(kind, "f", HONEST.calls) for kind in kinds]
    box.run(candidates * 20)
    before = _state()
    statuses = {one.status for _ in range(10_000 // (len(kinds) * 50) + 1) for one in box.run(candidates * 50)}
    after = _state()
    assert statuses == {"done", "exited", "crashed", "garbled", "broken"}
    assert after[:2] == before[:2]
    assert after[2] < before[2] + 32 * MIB
    assert not list(tmp_path.iterdir())
    assert box.restarts == 0


def _state():
    below = psutil.Process().children(recursive=True)
    descriptors = [len(os.listdir(f"/proc/{one}/fd")) for one in (os.getpid(), *sorted(one.pid for one in below))]
    resident = sum(one.memory_info().rss for one in (psutil.Process(), *below))
    return len(below), descriptors, resident
