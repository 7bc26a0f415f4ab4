"""spancredit: give every span of a completion the credit it causally earned, inside GRPO/DAPO training."""

from spancredit.config import CreditConfig
from spancredit.credit import assign_credit, weights_for
from spancredit.crediting import credit_from_drops
from spancredit.errors import (
    ConfigError,
    ModelError,
    RecordError,
    RolloutError,
    RunFolderError,
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
    "ModelError",
    "Probe",
    "RecordError",
    "Rollout",
    "RolloutError",
    "RunFolderError",
    "Span",
    "SpanCredit",
    "SpanCreditError",
    "TrainerError",
    "UnknownNameError",
    "assign_credit",
    "credit_from_drops",
    "weights_for",
]
