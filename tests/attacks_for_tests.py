"""Attacks on the sandbox, each with what it would leave on this side of it if it succeeded."""

import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

SECRET = "the-secret-" + os.urandom(8).hex()


@dataclass
class World:
    """What there is to attack: a secret in files and in a process, listeners, a folder to write to, a victim."""

    folder: Path
    listeners: list[socket.socket] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.chmod(0o777)
        (self.folder / "secret").write_text(SECRET)
        (self.folder / "written").write_text("as it was")
        tcp, udp = socket.socket(), socket.socket(type=socket.SOCK_DGRAM)
        self.listeners += [tcp, udp, socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)]
        self.abstract = f"\0spancredit-{os.getpid()}-{time.monotonic_ns()}"
        self.path = f"/tmp/spancredit-{os.getpid()}-{time.monotonic_ns()}"
        for one, address in zip(
            self.listeners, (("127.0.0.1", 0), ("127.0.0.1", 0), self.path, self.abstract), strict=True
        ):
            one.bind(address)
            one.setblocking(False)
            if one is not udp:
                one.listen()
        os.chmod(self.path, 0o777)
        # Its memory and its environment hold the secret; its last words say that a signal came.
        self.victim = subprocess.Popen(
            [sys.executable, "-I", "-c", "import time; time.sleep(3600)"], env={"SECRET": SECRET}
        )

    def facts(self) -> dict[str, object]:
        return {
            "secret": str(self.folder / "secret"),
            "written": str(self.folder / "written"),
            "new": str(self.folder / "new"),
            "tcp": self.listeners[0].getsockname()[1],
            "udp": self.listeners[1].getsockname()[1],
            "unix": self.path,
            "abstract": self.abstract,
            "victim": self.victim.pid,
            "owner": os.getpid(),
            "package": str(Path(__file__).parents[1] / "README.md"),
            "data": str(Path(__file__).parents[2] / "shared/data"),
            "home": str(Path.home()),
            "token": "the-" + "secret-",
        }

    def breaches(self, outcome: object) -> list[str]:
        """What an attack has done, as seen from here."""
        found = ["knows the secret"] if SECRET in repr(outcome) else []
        found += ["connected" for one in self.listeners if _was_reached(one)]
        names = {one.name for one in self.folder.iterdir()}
        found += [f"made {name}" for name in names - {"secret", "written"}]
        found += [f"removed {name}" for name in {"secret", "written"} - names]
        if "written" in names and (self.folder / "written").read_text() != "as it was":
            found.append("wrote")
        with suppress(subprocess.TimeoutExpired):  # a signal takes its time
            self.victim.wait(0.2)
            found.append("ended another process")
        if self.victim.returncode is None and psutil.Process(self.victim.pid).status() == psutil.STATUS_STOPPED:
            found.append("stopped another process")
        return found

    def close(self) -> None:
        for one in self.listeners:
            one.close()
        os.unlink(self.path)
        self.victim.kill()
        self.victim.wait()


def _was_reached(listener: socket.socket) -> bool:
    try:
        if listener.type == socket.SOCK_DGRAM:
            listener.recv(100)
        else:
            listener.accept()[0].close()
    except BlockingIOError:
        return False
    return True


def below() -> set[psutil.Process]:
    """The processes below this one, which takes on those whose parents have died (it is a subreaper)."""
    return set(psutil.Process().children(recursive=True))


def end(processes: set[psutil.Process]) -> list[str]:
    """Kill and reap; what was still alive, as descriptions."""
    alive = [repr(one) for one in processes if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    for one in processes:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    for one in processes:
        with suppress(ChildProcessError):
            os.waitpid(one.pid, 0)
    return alive


class Watch:
    """The most processes, and bytes, that there were below this process at a time, while it is entered."""

    def __init__(self) -> None:
        self.processes = 0
        self.memory = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.02):
            below = psutil.Process().children(recursive=True)
            self.processes = max(self.processes, len(below))
            self.memory = max(self.memory, *(_memory(one) for one in below), 0)


def _memory(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.NoSuchProcess:
        return 0


TRY = """
import os, socket, sys, ctypes, signal
libc = ctypes.CDLL(None, use_errno=True)
def attempt(action):
    try:
        return repr(action())
    except BaseException as error:
        return type(error).__name__
def read(path):
    with open(path, 'rb') as file:
        return file.read(1 << 20)
"""


def attack(body: str) -> str:
    """A candidate `f(facts)` whose lines are each tried, whatever became of those before."""
    lines = [f"    said.append(attempt(lambda: {line.strip()}))" for line in body.strip().splitlines()]
    return "\n".join([TRY, "def f(w):", "    said = []", *lines, "    return said"])


# Each breaches an unconfined process, so a test that finds no breach inside has looked in the right place.
BREACHES: dict[str, str] = {
    "tcp": attack("socket.create_connection(('127.0.0.1', w['tcp']), 2)"),
    "udp": attack("socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', w['udp']))"),
    "unix socket": attack("socket.socket(socket.AF_UNIX).connect(w['unix'])"),
    "abstract socket": attack("socket.socket(socket.AF_UNIX).connect(w['abstract'])"),
    "read a file": attack("read(w['secret'])"),
    "read by a raw call": TRY
    + """
def f(w):
    content = ctypes.create_string_buffer(100)
    libc.read(libc.open(w['secret'].encode(), 0), content, 100)
    return content.raw
""",
    "environment of another": attack("read(f\"/proc/{w['victim']}/environ\")"),
    "memory of another": TRY
    + """
def f(w):
    with open(f"/proc/{w['victim']}/maps") as maps:
        areas = [[int(x, 16) for x in line.split()[0].split('-')] for line in maps if '[stack]' in line]
    with open(f"/proc/{w['victim']}/mem", 'rb') as memory:
        memory.seek(areas[0][0])
        content = memory.read(areas[0][1] - areas[0][0])
    return content[content.find(b'the-' + b'secret-'):][:100]
""",
    "overwrite": attack("open(w['written'], 'w').write('x')"),
    "truncate by an open for reading": attack("os.close(os.open(w['written'], os.O_RDONLY | os.O_TRUNC))"),
    "truncate": attack("os.truncate(w['written'], 0)"),
    "make a file": attack("os.close(os.open(w['new'], os.O_CREAT | os.O_WRONLY))"),
    "make a folder": attack("os.mkdir(w['new'])"),
    "make a link": attack("os.symlink('/etc/passwd', w['new'])"),
    "make a hard link": attack("os.link(w['secret'], w['new'])"),
    "make a pipe": attack("os.mkfifo(w['new'])"),
    "rename": attack("os.rename(w['secret'], w['new'])"),
    "remove": attack("os.remove(w['written'])"),
    "run a program": attack("os.system('touch ' + w['new'])"),
    "replace itself": attack("os.execv('/bin/sh', ['sh', '-c', 'touch ' + w['new']])"),
    "spawn": attack("os.waitpid(os.posix_spawn('/bin/sh', ['sh', '-c', 'touch ' + w['new']], {}), 0)"),
    "kill another": attack("os.kill(w['victim'], signal.SIGKILL)"),
    "stop another": attack("os.kill(w['victim'], signal.SIGSTOP)"),
    "kill by a descriptor": attack("signal.pidfd_send_signal(os.pidfd_open(w['victim']), signal.SIGKILL)"),
    "signal by a descriptor's owner": TRY
    + """
import fcntl
def f(w):
    r, s = os.pipe()
    fcntl.fcntl(r, fcntl.F_SETOWN, w['victim'])
    fcntl.fcntl(r, 10, signal.SIGTERM)
    fcntl.fcntl(r, fcntl.F_SETFL, os.O_ASYNC)
    os.write(s, b'x')
""",
    "trace another, and end with it": TRY
    + """
def f(w):
    return libc.ptrace(0x4206, w['victim'], None, ctypes.c_void_p(0x100000))
""",
    "leave a daemon": TRY
    + """
import time
def f(w):
    if not os.fork():
        os.setsid()
        if not os.fork():
            time.sleep(0.3)
            attempt(lambda: open(w['new'], 'w').close())
            time.sleep(3600)
        os._exit(0)
    os.wait()
    time.sleep(1)
""",
}

# These have no trace of their own: they must not disturb this side, and leave no process.
NUISANCES: dict[str, str] = {
    "netlink": attack("socket.socket(16, 3, 0)"),
    "other sockets": attack(
        """
        socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)
        socket.socketpair()
        libc.socket(2, 1, 0)
        """
    ),
    "new namespaces": attack(
        "libc.unshare(0x10000000)\nlibc.unshare(0x20000)\nlibc.setns(0, 0)\n(1 // (1 + libc.unshare(0x40000000)))"
    ),
    "mount": attack(
        "libc.mount(b'none', b'/tmp', b'tmpfs', 0, None)\nlibc.chroot(b'/')\nlibc.syscall(155, b'/', b'/')"
    ),
    "sigterm of its group": attack("os.killpg(0, signal.SIGTERM)\nos.kill(os.getppid(), 9)"),
    "limits": attack("__import__('resource').setrlimit(7, (1000, 1000))\nlibc.prctl(1, 0)\nos.nice(-20)"),
    "atexit": "import atexit, time\natexit.register(time.sleep, 3600)\ndef f(w): return 'done'",
    "a thread left behind": """
import threading, time
def f(w): threading.Thread(target=time.sleep, args=(3600,)).start()
""",
    "a thread bomb": """
import threading, time
def f(w):
    while True: threading.Thread(target=time.sleep, args=(9,)).start()
""",
    "a closed channel": "import os\ndef f(w):\n    os.closerange(0, 64)\n    while True: pass",
    "a class that lies": """
class L:
    __class__ = int
    def __eq__(self, other): return True
def f(w): return L()
""",
}

# These run until they are stopped.
ENDLESS: dict[str, str] = {
    "a loop": "def f(w):\n    while True: pass",
    "a loop at import": "while True: pass",
    "a sleep": "import time\ndef f(w): time.sleep(3600)",
    "signals ignored": """
import signal, time
def f(w):
    for s in (15, 24, 14, 1, 2, 3, 13): signal.signal(s, signal.SIG_IGN)
    while True:
        try: time.sleep(1)
        except BaseException: pass
""",
    "every exception caught": """
def f(w):
    while True:
        try:
            while True: pass
        except BaseException: pass
""",
    "a long number": "def f(w): return len(str(7 ** 7 ** 9))",
    "a regular expression": "import re\ndef f(w): return re.match('(a+)+b', 'a' * 60)",
    "a pause": "import signal\ndef f(w):\n    while True: signal.pause()",
}

BOMBS: dict[str, str] = {
    "300 forks": """
import os, time
def f(w):
    for _ in range(300):
        try:
            if not os.fork():
                time.sleep(3)
                os._exit(0)
        except OSError: pass
    time.sleep(0.5)
""",
    "clone by raw calls": """
import ctypes, time
libc = ctypes.CDLL(None)
def f(w):
    for n in (56, 57, 58, 435, 220):
        for _ in range(20):
            if libc.syscall(n, 17, 0, 0, 0, 0) == 0: time.sleep(3)
    time.sleep(0.5)
""",
    "memory": "def f(w): return len(bytearray(b'x') * (3 << 30))",
    "memory in pieces": """
def f(w):
    kept = []
    while True: kept.append(bytearray(b'x') * (1 << 20))
""",
    "memory by mmap": """
import mmap
def f(w):
    kept = []
    while True:
        kept.append(mmap.mmap(-1, 1 << 24))
        kept[-1].write(b'x' * (1 << 24))
""",
    "shared memory": """
from multiprocessing import shared_memory
def f(w): return shared_memory.SharedMemory(create=True, size=1 << 30).name
""",
}

# On x86_64 the kernel speaks two more ABIs, whose numbers mean other calls; either ends the process.
OTHER_ABIS: dict[str, str] = {
    "x32": "import ctypes\ndef f(w): return ctypes.CDLL(None).syscall(0x40000000 + 39)",
    "32 bits": """
import ctypes, mmap
def f(w):
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(b'\\xb8\\x14\\0\\0\\0\\xcd\\x80\\xc3')  # getpid by int 0x80
    return ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()
""",
}
