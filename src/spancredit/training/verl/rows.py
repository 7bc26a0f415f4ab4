"""Between verl's batches and ours: rollouts of a batch, and log-probabilities of sequences by the actor's engine."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import torch
from tensordict import TensorDict
from verl.utils import tensordict_utils as tu

from spancredit.training.verl.settings import FIELDS
from spancredit.types import Rollout


def rollouts_of(data: TensorDict) -> list[Rollout]:
    """The rollouts of a batch; those that verl fills it up with have no token of the loss.

    Args:
        data: int64 `prompts`, `responses` and `response_mask`, float32 `advantages`, each jagged `(B, T)`, unpadded.
    """
    columns = (data[name].unbind() for name in FIELDS)
    return [_rollout(*row) for row in zip(*columns, strict=True)]


def _rollout(
    prompt_ids: torch.Tensor, completion_ids: torch.Tensor, mask_T: torch.Tensor, advantages_T: torch.Tensor
) -> Rollout:
    """Its advantage is None where the tokens of the loss have several."""
    counted = mask_T.bool()
    advantages = set(advantages_T[counted].tolist())
    return Rollout(
        prompt_ids.tolist(),
        completion_ids.tolist(),
        advantages.pop() if len(advantages) == 1 else None,
        counted.tolist(),
    )


def logprobs_by(actor: Any, temperature: float, sequences: Sequence[list[int]]) -> list[list[float]]:
    """Log-probability of each token after those before it, in nats; 0 for a first one.

    Args:
        actor: verl's `TrainingWorker`, whose ranks all call this with as many sequences each.
        sequences: Unpadded token ids.

    Returns:
        One number a token. Zeros on ranks of a model-parallel group that give no outputs; nobody may read them.
    """
    order = sorted(range(len(sequences)), key=lambda i: len(sequences[i]))  # a micro-batch pads little
    rows = [sequences[i] for i in order]
    settings = actor.engine_config
    if not settings.use_dynamic_bsz:  # then verl wants whole micro-batches
        rows += [rows[0]] * (-len(rows) % settings.infer_micro_batch_size_per_gpu)
    output = actor.infer_batch(_batch(rows, temperature))
    if output is None:
        return [[0.0] * len(ids) for ids in sequences]
    found: list[list[float]] = [[]] * len(sequences)
    for i, logps_L in zip(order, output["log_probs"].unbind(), strict=False):
        found[i] = [0.0, *logps_L[:-1].tolist()]  # verl's entry is that of the next token
    return found


def _batch(rows: Sequence[list[int]], temperature: float) -> TensorDict:
    """Rows as verl's engines take them; positions are contiguous, which is what tells packed rows apart."""
    offsets = torch.tensor([0, *accumulate(map(len, rows))])

    def jagged(values: torch.Tensor) -> torch.Tensor:
        return torch.nested.nested_tensor_from_jagged(values, offsets)

    ids = torch.tensor([token for row in rows for token in row])
    positions = torch.cat([torch.arange(len(row)) for row in rows])
    return tu.get_tensordict(
        {"input_ids": jagged(ids), "position_ids": jagged(positions), "loss_mask": jagged(torch.ones_like(ids))},
        {"temperature": temperature, "calculate_entropy": False, "compute_loss": False},
    )
