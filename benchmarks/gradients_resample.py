"""The reference that cheaper credit is judged by: step advantages as changes of the resampled value (VinePPO)."""

from collections.abc import Sequence
from itertools import pairwise
from statistics import mean
from typing import Any

import numpy as np
import torch
from fidelity_continue import continue_many

import spancredit as sc
from spancredit.tasks.wordproblems import Problem, reward
from spancredit.text.locate import locate_reasoning


def resampled(
    model: Any,
    tokenizer: Any,
    rollouts: Sequence[sc.Rollout],
    owners: Sequence[Problem],
    rewards: np.ndarray,
    group: int,
    count: int,
    longest: int,
    generator: torch.Generator,
) -> list[torch.Tensor]:
    """For each token the change of the value over the stretch it stands in, over its group's standard deviation.

    Values are means of `count` continuations; that of the prompt is its group's mean, that of the end the reward.
    """
    cuts = [boundaries(tokenizer, rollout) if rollout.advantage else [] for rollout in rollouts]
    prefixes = {
        (*rollouts[i].prompt_ids, *rollouts[i].completion_ids[:cut]): i for i, inner in enumerate(cuts) for cut in inner
    }
    values = {}
    for (prefix, i), found in zip(
        prefixes.items(), continue_many(model, list(prefixes), count, longest, generator), strict=True
    ):
        begun = list(prefix[len(rollouts[i].prompt_ids) :])
        texts = tokenizer.batch_decode([begun + ids for ids in found], skip_special_tokens=True)
        values[prefix] = mean(reward(texts, [str(owners[i].answer)] * count))
    groups = rewards.reshape(-1, group)
    means, deviations = groups.mean(1), groups.std(1, ddof=1) + 1e-4
    rows = []
    for i, rollout in enumerate(rollouts):
        size = len(rollout.completion_ids)
        inner = [values[(*rollout.prompt_ids, *rollout.completion_ids[:cut])] for cut in cuts[i]]
        path = [means[i // group], *inner, rewards[i] if rollout.advantage else means[i // group]]
        row_T = torch.zeros(size)
        for (start, end), (before, after) in zip(pairwise([0, *cuts[i], size]), pairwise(path), strict=True):
            row_T[start:end] = float(after - before) / deviations[i // group]
        rows.append(row_T)
    return rows


def boundaries(tokenizer: Any, rollout: sc.Rollout) -> list[int]:
    """Where values are asked for: after each span, and inside those of text after the first token and before the last,
    which decide what comes next."""
    spans, answer = locate_reasoning(0, rollout, tokenizer, sc.CreditConfig())
    cuts = {span.end for span in spans} | ({answer.end} if answer else set())
    for span in spans:
        if span.kind == "text":
            cuts |= {span.start + 1, span.end - 1}
    return sorted(cut for cut in cuts if 0 < cut < len(rollout.completion_ids))
