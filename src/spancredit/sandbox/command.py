"""How the zygote is started at each level: a command, for an environment of one constant, and what it may read."""

import os
import shutil
import sys
import sysconfig
from glob import glob
from pathlib import Path

from spancredit.errors import SandboxError

ENVIRONMENT = {"PYTHONHASHSEED": "0"}  # all of it; so sets of strings have one order in every zygote
INSIDE = Path(__file__).with_name("inside")
_PACKAGES = ("site-packages", "dist-packages")  # what is installed there may hold solutions
_MOUNTED = Path("/sandbox/inside")
_START = (
    "import sys; sys.path[:] = [one for one in sys.path if one] + [{folder!r}]; "
    "from inside import zygote; sys.path.pop(); zygote.main()"
)


def plain(control: int, confined: bool) -> list[str]:
    """The zygote without namespaces; `control` is its end of the socket."""
    return _zygote(INSIDE.parent, control, confined)


def bubblewrapped(control: int) -> list[str]:
    """The zygote as the first process of namespaces of its own, where nothing but Python is mounted, read-only.

    Raises:
        SandboxError: if bubblewrap is not installed.
    """
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        raise SandboxError("there is no program 'bwrap' on the PATH (the package bubblewrap)")
    command = [bwrap, "--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"]
    command += ["--unshare-cgroup-try", "--as-pid-1", "--cap-drop", "ALL", "--uid", "65534", "--gid", "65534"]
    command += ["--hostname", "sandbox"]
    for link in filter(os.path.islink, ("/lib", "/lib64")):
        command += ["--symlink", os.readlink(link), link]
    for path in dict.fromkeys([_stdlib(), *_library_folders(), *_library_files(), interpreter()]):
        command += ["--ro-bind", path, path]
    for loader in glob("/lib*/ld-*.so*"):
        command += ["--ro-bind-try", loader, os.path.join(os.path.realpath(os.path.dirname(loader)), _name(loader))]
    for folder in _masked():
        command += ["--tmpfs", folder, "--remount-ro", folder]
    command += ["--ro-bind", str(INSIDE), str(_MOUNTED), "--remount-ro", "/", "--chdir", "/"]
    return [*command, "--", *_zygote(_MOUNTED.parent, control, confined=True)]


def interpreter() -> str:
    """The base interpreter, without the virtual environment around it."""
    return os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)


def _zygote(folder: Path, control: int, confined: bool) -> list[str]:
    """Flags as of `-I -S -B`, but for the environment, which is ours."""
    path = ["-P"] if sys.version_info >= (3, 11) else []
    start = [interpreter(), *path, "-s", "-S", "-B", "-X", "utf8", "-c", _START.format(folder=str(folder))]
    return [*start, str(control), "confined" if confined else "free", _stdlib(), *_readable()]


def _readable() -> list[str]:
    """The standard library without what is installed beside it, and shared libraries."""
    modules = [one.path for one in os.scandir(_stdlib()) if one.name not in _PACKAGES]
    multiarch = _multiarch_folders()
    loose = [] if multiarch else [file for folder in _library_folders() for file in glob(f"{folder}/*.so*")]
    return sorted({*modules, *multiarch, *loose, *_library_files()})


def _stdlib() -> str:
    return os.path.realpath(sysconfig.get_path("stdlib"))


def _library_folders() -> list[str]:
    return _multiarch_folders() or _folders("/usr/lib64", "/lib64", "/usr/lib", "/lib")


def _multiarch_folders() -> list[str]:
    """As in Debian: nothing but libraries."""
    name = getattr(sys.implementation, "_multiarch", "")
    return _folders(f"/usr/lib/{name}", f"/lib/{name}") if name else []


def _folders(*paths: str) -> list[str]:
    return list(dict.fromkeys(os.path.realpath(one) for one in paths if os.path.isdir(one)))


def _library_files() -> list[str]:
    """Beside the interpreter, as libpython is, and the linker's list."""
    beside = [] if sys.base_prefix in ("/usr", "/") else glob(f"{sys.base_prefix}/lib/*.so*")
    cache = ["/etc/ld.so.cache"] if os.path.exists("/etc/ld.so.cache") else []
    return [one for one in (*beside, *cache) if os.path.isfile(one)]


def _masked() -> list[str]:
    under = [_stdlib(), *(one for folder in _library_folders() for one in glob(f"{folder}/python3*"))]
    paths = [os.path.join(folder, name) for folder in under for name in _PACKAGES]
    return list(dict.fromkeys(os.path.realpath(one) for one in paths if os.path.isdir(one)))


def _name(path: str) -> str:
    return os.path.basename(path)
