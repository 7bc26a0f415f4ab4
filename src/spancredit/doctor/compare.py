"""Log-probabilities held against each other: the scorer beside the definition, training mode beside eval mode."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from spancredit.config import CreditConfig
from spancredit.counterfactual.forward import eval_mode, row_logps
from spancredit.counterfactual.interventions import Row
from spancredit.counterfactual.scorers import TOLERANCE
from spancredit.doctor.facts import Comparison
from spancredit.randomness import seeded
from spancredit.report.spaced import spaced
from spancredit.types import Credit, Rollout

Score = Callable[[Sequence[Rollout], CreditConfig], list[Credit]]
COMPARED = 4  # rollouts: one forward for each of their spans


def compared(score: Score, rollouts: Sequence[Rollout], config: CreditConfig, dtype: torch.dtype) -> Comparison | None:
    """The drops of a few rollouts of all lengths, by the scorer and by the definition; None without a rollout."""
    chosen = spaced(sorted(rollouts, key=lambda one: len(one.completion_ids)), COMPARED)
    if not chosen:
        return None
    exact = score(chosen, replace(config, scorer="sequential"))
    found = score(chosen, config)
    pairs = [
        pair for one, other in zip(found, exact, strict=True) for pair in zip(_logps(one), _logps(other), strict=True)
    ]
    differences = [abs(got - expected) for got, expected in pairs]
    allowed = [TOLERANCE[dtype] * max(1.0, abs(expected)) for _, expected in pairs]
    beyond = sum(not difference <= most for difference, most in zip(differences, allowed, strict=True))
    name = str(dtype).removeprefix("torch.")
    return Comparison(len(chosen), len(pairs), max(differences, default=0.0), beyond, name)


def _logps(credit: Credit) -> list[float]:
    """Of the answer, clean and with each span masked, in nats."""
    clean = credit.answer_logp
    return [] if clean is None else [clean, *(clean - span.drop for span in credit.spans)]


def training_noise(model: Any, rollout: Rollout, temperature: float, seed: int) -> float:
    """How far training mode moves the log-probability of a token of the completion, at most, in nats.

    Dropout moves it, and so does noise in a router; the modes of all modules are as before afterwards.
    """
    ids = (*rollout.prompt_ids, *rollout.completion_ids)
    row = Row(ids, tuple((i, i + 1) for i in range(len(rollout.prompt_ids), len(ids))))
    device = next(model.parameters()).device
    with eval_mode(model), seeded(device, seed):
        (quiet_T,) = row_logps(model, [row], temperature)
        model.train()
        (noisy_T,) = row_logps(model, [row], temperature)
        model.eval()
    return max(abs(a - b) for a, b in zip(quiet_T, noisy_T, strict=True))


def dropouts_of(model: torch.nn.Module) -> dict[str, float]:
    """Every dropout above 0 that training mode would apply: of layers of that kind, and attributes of that name."""
    found: dict[str, float] = {}
    for path, module in model.named_modules():
        if isinstance(module, torch.nn.Dropout):
            named = [part for part in path.split(".") if "drop" in part]
            values = {named[0] if named else "dropout": module.p}
        else:
            values = {name: value for name, value in vars(module).items() if "drop" in name}
        found |= {name: v for name, v in values.items() if isinstance(v, float) and v > 0}
    return found
