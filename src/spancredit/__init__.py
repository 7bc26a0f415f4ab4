"""spancredit: give every span of a completion the credit it causally earned, inside GRPO/DAPO training."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spancredit.config import CreditConfig
    from spancredit.credit import assign_credit, weights_for
    from spancredit.crediting import credit_from_drops
    from spancredit.errors import (
        ConfigError,
        DataError,
        ModelError,
        RecordError,
        RolloutError,
        RunFolderError,
        SandboxError,
        SpanCreditError,
        TrainerError,
        UnknownNameError,
    )
    from spancredit.types import REASONS, Cost, Credit, Probe, Rollout, Span, SpanCredit

__version__ = "0.1.0"
__all__ = [
    "REASONS",
    "ConfigError",
    "Cost",
    "Credit",
    "CreditConfig",
    "DataError",
    "ModelError",
    "Probe",
    "RecordError",
    "Rollout",
    "RolloutError",
    "RunFolderError",
    "SandboxError",
    "Span",
    "SpanCredit",
    "SpanCreditError",
    "TrainerError",
    "UnknownNameError",
    "assign_credit",
    "credit_from_drops",
    "weights_for",
]
# Where the names are. They are loaded when they are asked for, since torch alone takes seconds.
_HOMES = {
    "config": ("CreditConfig",),
    "credit": ("assign_credit", "weights_for"),
    "crediting": ("credit_from_drops",),
    "types": ("REASONS", "Cost", "Credit", "Probe", "Rollout", "Span", "SpanCredit"),
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'spancredit' has no attribute {name!r}")
    home = next((home for home, names in _HOMES.items() if name in names), "errors")
    value = globals()[name] = getattr(import_module(f"spancredit.{home}"), name)
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]
