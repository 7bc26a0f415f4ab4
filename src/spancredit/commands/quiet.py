"""The display is ours: no notices of deprecation, no second progress bar."""

import logging
import warnings

from transformers.utils import logging as transformers_logging

from spancredit.commands.ranks import is_main


def quiet() -> None:
    """Silence what the libraries below say on their own, and in all processes but the main one every warning."""
    if not is_main():
        warnings.simplefilter("ignore")
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers|trl|torch\.distributed")
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    logging.getLogger("trl").setLevel(logging.ERROR)
