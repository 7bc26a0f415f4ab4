"""The seccomp filter of both machines, run by an interpreter of its own: what is allowed, and what is answered else."""

import errno

import pytest

from spancredit.sandbox.inside import kernel, seccomp

ALLOWED, KILLED = 0x7FFF0000, 0x80000000
# By the kernel's own headers, of what must not pass: (x86_64, aarch64).
FORBIDDEN = {
    "socket": (41, 198), "connect": (42, 203), "sendmsg": (46, 211), "clone": (56, 220), "execve": (59, 221),
    "execveat": (322, 281), "kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131), "rt_sigqueueinfo": (129, 138),
    "pidfd_send_signal": (424, 424), "pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "ptrace": (101, 117),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "unshare": (272, 97), "setns": (308, 268),
    "mount": (165, 40), "pivot_root": (155, 41), "chroot": (161, 51), "io_uring_setup": (425, 425), "bpf": (321, 280),
    "perf_event_open": (298, 241), "keyctl": (250, 219), "userfaultfd": (323, 282), "memfd_create": (319, 279),
    "prctl": (157, 167), "seccomp": (317, 277), "setrlimit": (160, 164), "unlinkat": (263, 35), "mkdirat": (258, 34),
    "renameat2": (316, 276), "linkat": (265, 37), "symlinkat": (266, 36), "fchmodat": (268, 53), "fchownat": (260, 54),
    "utimensat": (280, 88), "setxattr": (188, 5), "truncate": (76, 45), "ftruncate": (77, 46), "shmget": (29, 194),
    "msgget": (68, 186), "semget": (64, 190), "mq_open": (240, 180), "sched_setaffinity": (203, 122),
    "init_module": (175, 105),
    "landlock_restrict_self": (446, 446), "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265),
    "capset": (126, 91), "setuid": (105, 146), "setpriority": (141, 140), "timer_create": (222, 107),
    "syslog": (103, 116), "acct": (163, 89),
}  # fmt: skip
MACHINES = sorted(kernel.MACHINES)


def answer(machine: str, number: int, *arguments: int, audit: int | None = None) -> int:
    """What the filter says to a system call."""
    known, calls = kernel.MACHINES[machine]
    words = {0: number, 4: known if audit is None else audit}
    for at, argument in enumerate((*arguments, *[0] * (6 - len(arguments)))):
        words |= {16 + 8 * at: argument & 0xFFFFFFFF, 20 + 8 * at: argument >> 32}
    code, at, word = seccomp.instructions(known, calls), 0, 0
    while True:
        operation, yes, no, operand = code[at]
        at += 1
        if operation == 0x06:
            return operand
        if operation == 0x20:
            word = words[operand]
        else:
            holds = {0x15: word == operand, 0x35: word >= operand, 0x45: bool(word & operand)}[operation]
            at += yes if holds else no


def refused(code: int) -> int:
    return 0x00050000 | code


@pytest.mark.parametrize("machine", MACHINES)
def test_what_is_listed_is_allowed_and_nothing_else(machine):
    _, calls = kernel.MACHINES[machine]
    listed = set(calls.values()) - {calls[name] for name in ("ioctl", "clone3", "openat2")}
    assert {number for number in range(1000) if answer(machine, number) == ALLOWED} == listed


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("name", FORBIDDEN)
def test_what_is_forbidden_is_refused(machine, name):
    assert answer(machine, FORBIDDEN[name][machine == "aarch64"]) == refused(errno.EPERM)


@pytest.mark.parametrize("machine", MACHINES)
def test_what_is_allowed_in_part(machine):
    _, calls = kernel.MACHINES[machine]
    at_folder = 0xFFFFFF9C
    assert answer(machine, calls["openat"], at_folder, 0, 0o2000000) == ALLOWED  # close-on-exec
    for flags in (0o1, 0o2, 0o100, 0o1000, 0o2000001, 0o20200002):
        assert answer(machine, calls["openat"], at_folder, 0, flags) == refused(errno.EACCES)
    assert answer(machine, calls["prlimit64"], 0, 7, 0, 1 << 40) == ALLOWED
    for pointer in (1, 1 << 32, 0x7FFF_0000_1000):
        assert answer(machine, calls["prlimit64"], 0, 7, pointer) == refused(errno.EPERM)
    fcntl = {command for command in range(2000) if answer(machine, calls["fcntl"], 5, command) == ALLOWED}
    assert fcntl == {0, 1, 2, 3, 1030}
    assert answer(machine, calls["ioctl"], 0, 0x5401) == refused(errno.ENOTTY)
    assert answer(machine, calls["clone3"]) == answer(machine, calls["openat2"]) == refused(errno.ENOSYS)


@pytest.mark.parametrize("machine", MACHINES)
def test_other_machines_and_abis_are_ended(machine):
    assert answer(machine, 0, audit=0x40000003) == KILLED  # i386
    assert answer(machine, 0, audit=0x40000028) == KILLED  # 32-bit arm
    assert answer(machine, 0x40000000) == KILLED  # x32
    assert answer(machine, 0xFFFFFFFF) == KILLED


def test_an_open_of_the_old_form_is_for_reading_only():
    assert answer("x86_64", 2, 0, 0) == ALLOWED
    assert answer("x86_64", 2, 0, 0o1101) == refused(errno.EACCES)


def test_a_machine_that_is_not_known_is_refused(monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(OSError, match="expected Linux on x86_64 or aarch64"):
        kernel.machine()
