"""Policy gradients as vectors: of a batch under every rule, and of every span alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

import spancredit as sc

CHUNK = 64  # rows of a forward
Tokens = list[torch.Tensor]  # one (T,) a rollout


def forward(model: Any, rollouts: Sequence[sc.Rollout]) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities of the completions' tokens and their entropies, `(B, L)` over prompt and completion."""
    rows = [torch.tensor([*r.prompt_ids, *r.completion_ids]) for r in rollouts]
    ids_BL = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    mask_BL = torch.nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
    logps_BLV = model(input_ids=ids_BL, attention_mask=mask_BL).logits[:, :-1].log_softmax(-1)
    entropies_BL = -(logps_BLV.exp() * logps_BLV).sum(-1)
    return logps_BLV.gather(-1, ids_BL[:, 1:, None])[..., 0], entropies_BL


@torch.no_grad()
def token_entropies(model: Any, rollouts: Sequence[sc.Rollout]) -> Tokens:
    """Entropy of the policy before each token of the completions, nats."""
    found: Tokens = []
    for start in range(0, len(rollouts), CHUNK):
        part = rollouts[start : start + CHUNK]
        _, entropies_BL = forward(model, part)
        found += [row[completion_range(r)] for row, r in zip(entropies_BL, part, strict=True)]
    return found


def completion_range(rollout: sc.Rollout) -> slice:
    """Where a completion's log-probabilities stand in a row of `forward`."""
    start = len(rollout.prompt_ids) - 1
    return slice(start, start + len(rollout.completion_ids))


def gradients(model: Any, rollouts: Sequence[sc.Rollout], by_rule: Mapping[str, Tokens]) -> dict[str, torch.Tensor]:
    """The policy gradient of the token-level loss by rule, all parameters in one vector."""
    parameters = list(model.parameters())
    total = sum(len(r.completion_ids) for r in rollouts)
    found = {name: torch.zeros(sum(p.numel() for p in parameters)) for name in by_rule}
    for start in range(0, len(rollouts), CHUNK):
        part = rollouts[start : start + CHUNK]
        logps_BL, _ = forward(model, part)
        for name, values in by_rule.items():
            factors_BL = torch.zeros_like(logps_BL)
            for b, (rollout, row_T) in enumerate(zip(part, values[start : start + CHUNK], strict=True)):
                factors_BL[b, completion_range(rollout)] = row_T
            parts = torch.autograd.grad((factors_BL * logps_BL).sum() / total, parameters, retain_graph=True)
            found[name] += torch.cat([gradient.flatten() for gradient in parts])
    return found


def span_norms(
    model: Any, rollouts: Sequence[sc.Rollout], credits: Mapping[str, Sequence[sc.Credit]], most: int
) -> list[dict[str, Any]]:
    """For the spans of some rollouts with an advantage their kind, and the norm of their own gradient by rule."""
    parameters = list(model.parameters())
    any_rule = next(iter(credits.values()))
    chosen = [i for i, rollout in enumerate(rollouts) if rollout.advantage and any_rule[i].reason is None][:most]
    found = []
    for i in chosen:
        logps_BL, _ = forward(model, [rollouts[i]])
        own_T = logps_BL[0, completion_range(rollouts[i])] * (rollouts[i].advantage or 0.0)
        for span in any_rule[i].spans:
            parts = torch.autograd.grad(own_T[span.start : span.end].sum(), parameters, retain_graph=True)
            norm = float(torch.cat([gradient.flatten() for gradient in parts]).norm())
            weights = {name: float(some[i].token_weights[span.start]) for name, some in credits.items()}
            found.append(
                {"kind": span.kind, "norms": {name: norm * w for name, w in {"uniform": 1.0, **weights}.items()}}
            )
    return found
