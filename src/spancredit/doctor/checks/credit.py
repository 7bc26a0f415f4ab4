"""Whether credit is there: rollouts that get weights of their own, drops above the floor, numbers that are right."""

from collections import Counter
from collections.abc import Sequence
from statistics import median

from spancredit.config import CreditConfig
from spancredit.counterfactual.measure import PROXIES
from spancredit.doctor.facts import Comparison, Completion, Setup
from spancredit.doctor.finding import Finding, by_share, counted, percent, tail
from spancredit.doctor.spending import Cost
from spancredit.types import REASONS

UNIFORM = {"warning": 0.5}  # shares of rollouts that stay uniform, zero advantages aside
FLOOR = {"error": 0.9, "warning": 0.5}  # shares of measured rollouts with no drop above the floor
LEAST = 0.1  # of them, below which nothing is said
ADVICE = {
    "no_answer": "See the finding on answers.",
    "no_span": "See the finding on reasoning.",
    "below_noise_floor": "See the finding on the noise floor.",
    "no_loss_token": "These are cut off and masked from the loss (mask_truncated_completions): see truncated.",
    "over_model_limit": "Shorten prompts or --max_completion_length, or take a model with more positions.",
    "non_finite": "Look at the model's weights, and at its dtype: float16 overflows where bfloat16 does not.",
    "over_budget": "Raise --credit_budget, or accept it: these train as without credit.",
}


def uniform(setup: Setup, completions: Sequence[Completion]) -> Finding | None:
    """Rollouts that have an advantage and yet all weights equal to 1, by reason."""
    if setup.credit.mode == "uniform":
        return Finding(
            "note",
            "uniform",
            1.0,
            "credit_mode is uniform: every weight is 1 and nothing is measured, so credit was not checked.",
            "Set --credit_mode counterfactual to have it checked.",
        )
    moved = [one for one in completions if one.advantage != 0]
    idle = [one for one in moved if one.reason is not None]
    if not idle:
        return None
    share = len(idle) / len(moved)
    reasons = Counter(one.reason for one in idle if one.reason)
    why = "; ".join(f"{REASONS[reason]} ({reason}, {count})" for reason, count in reasons.most_common())
    whole = "Credit would change nothing: of" if share == 1 else "Of"
    return Finding(
        "error" if share == 1 else by_share(share, **UNIFORM),
        "uniform",
        share,
        f"{whole} {counted(len(moved), 'rollout')} with an advantage {len(idle)} ({percent(share)}) keep weight 1: "
        f"{why}.",
        ADVICE.get(reasons.most_common(1)[0][0], "See docs/design.md, Metrics: credit/unscored."),
    )


def noise_floor(setup: Setup, completions: Sequence[Completion]) -> Finding | None:
    """Measured rollouts of which no span's drop is above the floor."""
    measured = [one for one in completions if one.drops]
    quiet = [one for one in measured if one.alone == "below_noise_floor"]
    if setup.credit.scorer in PROXIES or len(quiet) <= LEAST * len(measured):
        return None
    share, largest = len(quiet) / len(measured), [max(one.drops) for one in measured]
    if setup.by_tests:
        return Finding(
            "note",
            "noise_floor",
            share,
            f"In {percent(share)} of the programs measured ({len(quiet)} of {len(measured)}) no statement changes what "
            "credit is for: one that fails has none that alone keeps a test from passing.",
            "Nothing: these train as without credit."
            if setup.outcome == "exchange"
            else "--outcome exchange tries what the other completions have there, and finds more.",
            tail(quiet[0].text),
        )
    floor, middle = setup.credit.noise_floor, median(largest)
    high = floor > CreditConfig().noise_floor
    first = f"Lower --credit_noise_floor ({floor:g})" if high else "Try another --credit_intervention"
    return Finding(
        by_share(share, **FLOOR),
        "noise_floor",
        share,
        f"In {percent(share)} of the rollouts measured ({len(quiet)} of {len(measured)}) no span moves the answer by "
        f"more than the noise floor, {floor:g} nats; a rollout's largest drop is {middle:.2g} nats in the median.",
        f"{first}, or see whether the reasoning leads to the answer at all: spancredit explain shows one.",
        tail(quiet[0].text),
    )


def flat(setup: Setup, completions: Sequence[Completion]) -> Finding | None:
    """Weights that are all the same although drops differ: the settings leave no room between them."""
    scored = [one for one in completions if len(set(one.drops)) > 1 and one.alone is None]
    level = [one for one in scored if one.weights[1] - one.weights[0] < 1e-6]
    if not level:
        return None
    share, own = len(level) / len(scored), setup.credit
    return Finding(
        by_share(share, error=0.9, warning=0.25),
        "flat",
        share,
        f"{percent(share)} of the scored rollouts ({len(level)} of {len(scored)}) have one weight for all of their "
        f"spans, whose drops differ: boost {own.boost:g}, min_weight {own.min_weight:g}.",
        "Let --credit_boost be larger than --credit_min_weight.",
        tail(level[0].text),
    )


def scorers(setup: Setup, comparison: Comparison | None) -> Finding | None:
    """The scorer and the definition differ by more than rounding, or by as much as the noise floor."""
    if comparison is None:
        return None
    floor, different = setup.credit.noise_floor, comparison.largest
    if not comparison.beyond and different < floor:
        return None
    what = (
        f"{setup.credit.scorer} and sequential differ by up to {different:.2g} nats over "
        f"{comparison.numbers} log-probabilities of {counted(comparison.rollouts, 'rollout')} in {comparison.dtype}"
    )
    if comparison.beyond:
        text = f"{what}, {comparison.beyond} of them by more than rounding can."
        return Finding("error", "scorers", different, text, "Set --credit_scorer sequential, and report the model.")
    return Finding(
        "warning",
        "scorers",
        different,
        f"{what}: rounding, and as much as the noise floor, {floor:g} nats.",
        "Raise --credit_noise_floor above it, or score in float32 (--dtype float32, --bf16 false).",
    )


def fallbacks(setup: Setup, cost: Cost | None) -> Finding | None:
    """Sequences that could not be packed: right numbers, at a higher price."""
    if cost is None or not cost.fallbacks:
        return None
    why = f", since {setup.unpackable}" if setup.unpackable else ""
    return Finding(
        "note",
        "fallbacks",
        cost.fallbacks,
        f"{counted(cost.fallbacks, 'sequence')} could not be packed{why}, and were scored in padded batches: the same "
        "numbers, for more tokens.",
        "Nothing is wrong; docs/design.md lists what packs.",
    )
