"""One change at a time from the paper's rule, and rules that know the truth: how far could role weights go at all?"""

from typing import Any

import torch
from gradients_batch import GROUP, Batch
from gradients_vectors import Tokens
from roles import first_fault, read_solution

from spancredit.text.align import align
from spancredit.training.steps import group_values, step_advantages, steps_of

VARIANTS: dict[str, dict[str, Any]] = {
    "counterfactual": {},
    "min_weight 0": {"min_weight": 0.0},
    "boost 4, min_weight 0.25": {"boost": 4.0, "min_weight": 0.25},
    "answer_weight 1": {"answer_weight": 1.0},
    "full_scale 10": {"full_scale": 10.0},
    "no conservation": {"conserve": False},
    "hidden from attention": {"intervention": "attention"},
    "deleted": {"intervention": "delete"},
    "replaced by filler": {"intervention": "filler"},
    "surprisal": {"scorer": "surprisal"},
    "blame": {"mode": "blame"},
}


def derived(tokenizer: Any, batch: Batch) -> dict[str, Tokens]:
    """What the loss multiplies each token with, under rules that no single setting makes."""
    advantages = [rollout.advantage or 0.0 for rollout in batch.rollouts]
    return {
        "steps of the group": grouped(tokenizer, batch, advantages),
        "truth: calculations": by_truth(tokenizer, batch, advantages, faults=False),
        "truth: in wrong ones the fault": by_truth(tokenizer, batch, advantages, faults=True),
    }


def grouped(tokenizer: Any, batch: Batch, advantages: list[float]) -> Tokens:
    steps = [steps_of(rollout, tokenizer) for rollout in batch.rollouts]
    values = group_values(advantages, steps, [True] * len(steps), GROUP)
    return [
        step_advantages(advantage, mine, path, len(rollout.completion_ids))
        for advantage, mine, path, rollout in zip(advantages, steps, values, batch.rollouts, strict=True)
    ]


def by_truth(tokenizer: Any, batch: Batch, advantages: list[float], faults: bool) -> Tokens:
    """The advantage on the tokens of calculations alone; with `faults`, in wrong completions on the first wrong one."""
    rows: Tokens = []
    for rollout, problem, advantage in zip(batch.rollouts, batch.problems, advantages, strict=True):
        aligned = align(tokenizer, rollout.completion_ids)
        stretches = read_solution(aligned.text, problem)
        fault = first_fault(stretches) if faults and advantage < 0 else None
        row_T = torch.zeros(len(rollout.completion_ids))
        for stretch in stretches:
            if stretch.role == "calculation" and fault in (None, stretch.step):
                first, last = aligned.tokens_of(stretch.start, stretch.end)
                row_T[first:last] = advantage
        rows.append(row_T)
    return rows
