"""Batches of completions with what each credit rule multiplies their tokens' log-probabilities with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from fidelity_continue import continue_many
from gradients_resample import resampled
from gradients_vectors import Tokens, token_entropies
from roles import read_solution

import spancredit as sc
from spancredit.tasks.wordproblems import Problem, reward
from spancredit.text.align import align

GROUP = 8  # completions of a prompt
GROUPS = 16  # prompts of a batch
MODES: dict[str, dict[str, Any]] = {
    "counterfactual": {"mode": "counterfactual"},
    "inverted": {"mode": "inverted"},
    "random": {"mode": "random"},
    "mediated": {"mode": "mediated", "intervention": "attention"},
    "surprisal": {"scorer": "surprisal"},
    "entropy": {"scorer": "entropy"},
}
ROLES = (
    "filler, first token",
    "filler",
    "lead_in, first token",
    "lead_in",
    "calculation",
    "unit",
    "marker",
    "answer",
    "other",
)


@dataclass(frozen=True)
class Batch:
    """Completions of `GROUPS` prompts, group by group, with the advantages of their rewards."""

    problems: list[Problem]
    rollouts: list[sc.Rollout]
    rewards: np.ndarray


def draw_batch(model: Any, tokenizer: Any, drawn: list[Problem], longest: int, generator: torch.Generator) -> Batch:
    """Advantages as GRPO has them; those of completions without an end are 0, since DAPO masks them."""
    prompts = [tokenizer(problem.prompt)["input_ids"] for problem in drawn]
    groups = continue_many(model, prompts, GROUP, longest, generator)
    owners = [problem for problem in drawn for _ in range(GROUP)]
    texts = tokenizer.batch_decode([ids for group in groups for ids in group], skip_special_tokens=True)
    rewards = np.array(reward(texts, [str(problem.answer) for problem in owners]))
    by_group = rewards.reshape(-1, GROUP)
    advantages = (by_group - by_group.mean(1, keepdims=True)) / (by_group.std(1, ddof=1, keepdims=True) + 1e-4)
    rollouts = [
        sc.Rollout(prompt, ids, advantage=float(advantage) * (ids[-1] == model.config.eos_token_id))
        for prompt, group, row in zip(prompts, groups, advantages, strict=True)
        for ids, advantage in zip(group, row, strict=True)
    ]
    return Batch(owners, rollouts, rewards)


def measured(
    model: Any, tokenizer: Any, batch: Batch, rules: Mapping[str, dict[str, Any]] = MODES
) -> dict[str, list[sc.Credit]]:
    """The batch's credits under each of the library's own rules."""
    return {
        name: sc.assign_credit(model, tokenizer, batch.rollouts, sc.CreditConfig(**settings))
        for name, settings in rules.items()
    }


def advantages_by_rule(
    model: Any,
    tokenizer: Any,
    batch: Batch,
    credits: Mapping[str, list[sc.Credit]],
    resamples: int,
    longest: int,
    generator: torch.Generator,
) -> dict[str, Tokens]:
    """What the loss multiplies each token's log-probability with."""
    uniform = [torch.full((len(r.completion_ids),), r.advantage or 0.0) for r in batch.rollouts]
    found = {"uniform": uniform}
    for name, some in credits.items():
        found[name] = [c.token_weights * u_T for c, u_T in zip(some, uniform, strict=True)]
    entropies = token_entropies(model, batch.rollouts)
    found["token entropy"] = [e_T / e_T.mean() * u_T for e_T, u_T in zip(entropies, uniform, strict=True)]
    if resamples:
        found["monte carlo"] = resampled(
            model, tokenizer, batch.rollouts, batch.problems, batch.rewards, GROUP, resamples, longest, generator
        )
    return found


def token_roles(tokenizer: Any, batch: Batch) -> list[list[str]]:
    """For each token the role of the stretch it stands in; first tokens of sentences apart, since they commit."""
    found = []
    for rollout, problem in zip(batch.rollouts, batch.problems, strict=True):
        aligned = align(tokenizer, rollout.completion_ids)
        stretches = read_solution(aligned.text, problem)
        names, before = [], None
        for start, end in zip(aligned.starts, aligned.ends, strict=True):
            piece = aligned.text[start:end]
            place = start + (len(piece) - len(piece.lstrip()) if piece.strip() else 0)
            here = next((s for s in stretches if s.start <= place < s.end), stretches[-1])
            begins = here.role in ("filler", "lead_in") and here is not before
            names.append(f"{here.role}, first token" if begins else here.role)
            before = here
        found.append(names)
    return found
