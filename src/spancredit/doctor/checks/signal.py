"""Whether there is anything to learn from: rewards, groups, and completions that come to an end."""

import math
from collections.abc import Mapping, Sequence

from spancredit.doctor.facts import Completion, Setup
from spancredit.doctor.finding import Finding, by_share, counted, percent, tail

GROUPS = {"warning": 0.5}  # shares of groups without a signal
TRUNCATED = {"error": 0.9, "warning": 0.1}  # shares cut off


def rewards(setup: Setup, completions: Sequence[Completion], statuses: Mapping[str, float]) -> Finding | None:
    """All rewards equal, or missing: nothing would be learnt.

    Args:
        statuses: Shares of completions by how they fared, where the task says.
    """
    given = [one.reward for one in completions if not math.isnan(one.reward)]
    if not completions or len(set(given)) > 1:
        return None
    where = f"all {len(completions)} completions of {counted(_groups(completions), 'prompt')}"
    if not given:
        text, advice = f"No reward function rated any of {where}.", "See that the reward functions apply to this task."
    elif given[0] > 0:
        text = f"The reward is {given[0]:g} for {where}: there is nothing left to learn here."
        advice = "Take harder problems (--difficulty, --dataset)."
    else:
        fared = ", ".join(f"{name} {percent(share)}" for name, share in statuses.items())
        said = f" ({fared})" if fared else ""
        text = f"The reward is {given[0]:g} for {where}{said}: nothing tells a good one from a bad one."
        advice = "See whether answers have the form that is asked for; else take easier problems, or more --prompts."
    return Finding("error", "rewards", given[0] if given else None, text, advice, tail(completions[0].text))


def groups(setup: Setup, completions: Sequence[Completion]) -> Finding | None:
    """Groups whose rewards are all equal: their completions are generated and train nothing."""
    by_group: dict[int, list[Completion]] = {}
    for one in completions:
        by_group.setdefault(one.group, []).append(one)
    idle = [group for group in by_group.values() if all(one.advantage == 0 for one in group)]
    if not idle or len({one.reward for one in completions}) == 1:
        return None
    share = len(idle) / len(by_group)
    right = sum(group[0].reward > 0 for group in idle)
    rounds = setup.dynamic_sampling_rounds
    return Finding(
        "note" if rounds else by_share(share, **GROUPS),
        "groups",
        share,
        f"{len(idle)} of {counted(len(by_group), 'group')} ({percent(share)}) have rewards that are all equal, "
        f"{right} of them above 0, so their advantage is 0: generated, and nothing learnt.",
        f"--dynamic_sampling_rounds {rounds} will draw fresh prompts for them."
        if rounds
        else "--dynamic_sampling_rounds 4 draws fresh prompts for them; more --num_generations make them fewer.",
    )


def truncated(setup: Setup, completions: Sequence[Completion]) -> Finding | None:
    """Completions that the limit on tokens ended."""
    cut = [one for one in completions if one.truncated]
    if not cut:
        return None
    share, longest = len(cut) / len(completions), setup.max_completion_length
    ended = sorted(one.tokens for one in completions if not one.truncated)
    others = f"the others end after {ended[len(ended) // 2]} in the median" if ended else "none ends by itself"
    if not setup.may_be_longer:
        advice = "Ask for shorter solutions, or shorten the prompts: the model has no positions for longer ones."
    elif ended:
        advice = f"Raise --max_completion_length ({longest}), or ask for shorter solutions."
    else:
        advice = (
            f"Raise --max_completion_length ({longest}). If still none ends, the policy never says "
            f"{' or '.join(setup.ends) or 'an end token'}, as a base model may that was shown no example (--few_shot)."
        )
    return Finding(
        by_share(share, **TRUNCATED),
        "truncated",
        share,
        f"{percent(share)} of completions ({len(cut)} of {len(completions)}) are cut off at {longest} tokens; "
        f"{others}.",
        advice,
        tail(cut[0].text),
    )


def _groups(completions: Sequence[Completion]) -> int:
    return len({one.group for one in completions})
