"""What the trainer refuses when it is made: one sentence, and no run folder that stands in the way of the next try."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from spancredit.errors import ConfigError, SpanCreditError
from spancredit.ranks import is_main
from spancredit.report.lock import LOCK

REFUSALS = (ValueError, TypeError, ImportError, RuntimeError)
MADE = ("run.json", "settings.yaml", LOCK)  # of a run folder before its trainer is made; the lock goes last


@contextmanager
def taken_back(folder: Path, config: Path | None, made: bool) -> Iterator[None]:
    """Where the trainer cannot be made, forget the run folder, and say why.

    Args:
        config: The user's YAML file, which may lie in the folder, and then stays.
        made: Whether this command made the folder.

    Raises:
        ConfigError: in the place of a ValueError, and of what says that a package is missing.
    """
    try:
        yield
    except REFUSALS as error:
        if made and is_main():
            _remove(folder, config)
        if isinstance(error, SpanCreditError) or not _is_sentence(error):
            raise
        raise ConfigError(f"the trainer cannot be made: {' '.join(str(error).split()).rstrip('.')}.") from error


def _is_sentence(error: Exception) -> bool:
    return isinstance(error, (ValueError, ImportError)) or "to be installed" in str(error)


def _remove(folder: Path, config: Path | None) -> None:
    """What was made, and the folder if nothing else is in it."""
    for name in MADE:
        path = folder / name
        if config is None or config.resolve() != path.resolve():
            path.unlink(missing_ok=True)
    with suppress(OSError):  # it holds something else
        folder.rmdir()
