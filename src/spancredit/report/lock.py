"""One process at a time works on a folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from spancredit.errors import RunFolderError

LOCK = ".lock"


def is_free(path: Path) -> bool:
    """Whether there is nothing of that name, or a folder with nothing in it but a lock."""
    return not path.exists() or (path.is_dir() and all(one.name == LOCK for one in path.iterdir()))


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold a folder, which is made if there is none: only then may what is in it be looked at and written to.

    Raises:
        RunFolderError: if another process holds it.
    """
    path.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path / LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        raise RunFolderError(f"another process works on the {what} in {path}; wait for it or end it.") from error
    try:
        yield
    finally:
        lock.release()
