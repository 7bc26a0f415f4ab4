"""The display is ours: no notices of deprecation, no second progress bar."""

import logging
import warnings

from transformers.utils import logging as transformers_logging

from spancredit.ranks import is_main
from spancredit.report.visible import visible

FORMATTED = warnings.formatwarning


def quiet() -> None:
    """Silence what the libraries below say on their own, and in all processes but the main one every warning."""
    if not is_main():
        warnings.simplefilter("ignore")
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers|trl|torch\.distributed")
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    logging.getLogger("trl").setLevel(logging.ERROR)
    warnings.formatwarning = _in_a_line


def _in_a_line(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """What spancredit itself says is for the user, who does not look for the place that says it."""
    ours = str(message).startswith("spancredit: ")
    return f"{visible(str(message))}\n" if ours else FORMATTED(message, category, filename, lineno, line)
