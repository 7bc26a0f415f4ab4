"""What credit takes: its share of a step, what would make it less, and memory."""

from spancredit.doctor.facts import Setup
from spancredit.doctor.finding import Finding, by_share, counted, percent
from spancredit.doctor.spending import DEAR, Alternative, Cost, Memory

SHARE = {"warning": 0.5}  # of a step
LESS = 0.8  # of the share, below which an alternative is worth naming
TIGHT = 0.25  # of the free memory, from which a peak above training's is worth a warning
MIB = 2**20


def cost(setup: Setup, cost: Cost | None) -> Finding | None:
    """The share of a training step that credit takes."""
    if setup.credit.mode == "uniform" or cost is None or not (cost.tokens or cost.runs or cost.full):
        return None
    times = "" if cost.iterations == 1 else f" {cost.iterations} times"
    beside = (
        f"beside {cost.generation:.2g} s of generation and {cost.training:.2g} s of loss, backward and update{times}"
    )
    if cost.tokens or cost.runs:
        text = (
            f"Credit takes {percent(cost.share)} of a training step: measured over {cost.completions} completions, "
            f"{cost.scored} of them scored, in {cost.credit:.2g} s {beside}. "
        )
    else:
        text = (
            f"No completion of the timed step was scored. If all {cost.completions} were, credit would take "
            f"{percent(cost.share)} of it: {cost.full:.2g} s {beside}. "
        )
    text += (
        f"At most {percent(cost.largest_share)}, if all are scored and generation takes no time; a larger batch is "
        "generated faster for its size."
    )
    return Finding(by_share(cost.share, **SHARE), "cost", cost.share, text, _cheaper(setup, cost))


def _cheaper(setup: Setup, cost: Cost) -> str:
    if setup.credit.budget is not None:
        return f"Nothing: credit_budget {setup.credit.budget:g} holds once training has timed a few steps."
    if cost.share < DEAR:
        return "Nothing: that is little."
    if cost.runs:
        return f"{cost.runs} programs were run for it: more --sandbox_processes, where there are cores."
    possible = [_in_words(one) for one in cost.alternatives if one.share < LESS * cost.share]
    return " ".join(possible) or "Nothing: no budget or horizon goes with these settings, or makes it much less."


def _in_words(one: Alternative) -> str:
    methods = f" ({', '.join(one.methods)})" if one.methods else ""
    flag = one.setting.replace("=", " ")
    return f"--{flag}: {percent(one.share)}, {one.measured} of {one.of} rollouts measured{methods}."


def memory(setup: Setup, memory: Memory | None) -> Finding | None:
    """The peak of scoring beside that of training."""
    if memory is None or memory.credit is None or memory.training is None or not memory.forwards:
        return None
    leads = memory.credit > memory.training
    tight = leads and memory.free is not None and memory.credit > TIGHT * (memory.free + memory.credit)
    ceiling, used = setup.credit.max_tokens_per_forward, memory.tokens / memory.forwards
    trial, training = memory.micro_batch
    scaled = "" if trial == training else f" ({counted(trial, 'completion')} in a backward; training has {training})"
    less = max(1, min(ceiling, round(used)) // 2)
    return Finding(
        "warning" if tight else "note",
        "memory",
        memory.credit / MIB,
        f"Scoring takes at most {memory.credit / MIB:,.0f} MiB, loss and backward {memory.training / MIB:,.0f} MiB"
        f"{scaled}. A forward of scoring held {used:,.0f} tokens in the mean, of at most {ceiling:,} "
        "(credit_max_tokens_per_forward), beyond which more rollouts make more forwards, not larger ones.",
        f"Scoring sets the peak: halve it with --credit_max_tokens_per_forward {less}."
        if leads
        else "Nothing: training sets the peak.",
    )
