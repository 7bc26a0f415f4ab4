"""Errors. Each says in one sentence what came, what was expected, and which sample."""

import difflib
from collections.abc import Iterable


class SpanCreditError(Exception):
    """Base of every error that spancredit raises on purpose."""


class ConfigError(SpanCreditError, ValueError):
    """A setting that is unknown, out of range or at odds with another one."""


class UnknownNameError(ConfigError):
    """A name that is not one of the known ones; the message lists them and suggests the nearest."""

    def __init__(self, what: str, got: object, known: Iterable[str]):
        self.got, self.known = got, list(known)
        close = difflib.get_close_matches(str(got), self.known, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        listed = f"expected one of {', '.join(map(repr, self.known))}."
        if len(self.known) > 20:
            listed = "see --help for those there are."
        super().__init__(f"unknown {what} {got!r}; {listed}{hint}")


class RolloutError(SpanCreditError, ValueError):
    """A rollout, span or answer that cannot be what the caller meant."""


class ModelError(SpanCreditError, ValueError):
    """A model or tokenizer that cannot be loaded or lacks what the configuration needs."""


class TrainerError(SpanCreditError, ValueError):
    """A trainer setting that cannot carry per-token advantages, or a dataset or reward that cannot be trained on."""


class DataError(SpanCreditError, ValueError):
    """A dataset that cannot be reached, or a row of it that is not of its form."""


class SandboxError(SpanCreditError, RuntimeError):
    """A sandbox that cannot be had here, or work that cannot be put into one."""


class RunFolderError(SpanCreditError, RuntimeError):
    """A run folder that is missing, unreadable or already holds another run."""


class RecordError(SpanCreditError, ValueError):
    """A record that is not of this schema, or a records file with a broken line."""
