"""What a batch of credits says about itself: the numbers under `credit/`, summed so that ranks can be added up."""

from collections import Counter
from collections.abc import Iterable, Sequence

from spancredit.counterfactual.measure import BLAME
from spancredit.types import REASONS, Credit, Span

Tally = dict[str, tuple[float, float]]  # metric -> (sum, count); a count of 0 marks a total instead of a mean
SHARE = "weight_share/"
RARE = ("runs", "halved")  # of a cost: logged where they are not 0


def tally(credits: Sequence[Credit]) -> Tally:
    """Drops by kind (nats), shares of the weight by kind, unscored rollouts by reason, cost, of one rank's batch.

    What mode `blame` measures of completions that went wrong, surprisal, stands apart from the drops.
    """
    reasons = Counter(credit.reason for credit in credits)
    sums: Tally = {f"unscored/{reason}": (reasons[reason], len(credits)) for reason in REASONS}
    sums["scored"] = (reasons[None], len(credits))
    sums["tokens_forwarded"] = (sum(credit.cost.tokens for credit in credits), 0)
    sums["forwards"] = (sum(credit.cost.forwards for credit in credits), 0)
    sums["fallbacks"] = (sum(credit.cost.fallbacks for credit in credits), 0)
    for name in RARE:
        if count := sum(getattr(credit.cost, name) for credit in credits):
            sums[name] = (count, 0)
    for credit in credits:
        if credit.method is not None:
            _add(sums, f"method/{credit.method}", 1, 0)
        if credit.agreement is not None:
            _add(sums, "agreement", credit.agreement, 1)
        for span in credit.spans:
            _add(sums, f"{'blame' if credit.method == BLAME else 'drop'}/{span.kind}", span.drop, 1)
        if credit.reason is None:
            for kind, weight in weight_by_kind(credit).items():
                _add(sums, SHARE + kind, weight, 0)
    return sums


def weight_by_kind(credit: Credit) -> dict[str, float]:
    """How the weight of a completion is spread: over the kinds of span, the `answer`, and the `rest`."""
    parts: dict[str, float] = {}
    ranges: list[Span] = [*credit.spans, *([credit.answer] if credit.answer else [])]
    for span in ranges:
        parts[span.kind] = parts.get(span.kind, 0.0) + float(credit.token_weights[span.start : span.end].sum())
    return {**parts, "rest": float(credit.token_weights.sum()) - sum(parts.values())}


def merge(tallies: Iterable[Tally]) -> dict[str, float]:
    """Add up the tallies of all ranks and read each metric: a mean, or a total where the count is 0."""
    sums: Tally = {}
    for one in tallies:
        for name, (total, count) in one.items():
            _add(sums, name, total, count)
    mass = sum(total for name, (total, _) in sums.items() if name.startswith(SHARE))
    return {name: total / (mass if name.startswith(SHARE) else count or 1) for name, (total, count) in sums.items()}


def _add(sums: Tally, name: str, total: float, count: float) -> None:
    before = sums.get(name, (0.0, 0.0))
    sums[name] = (before[0] + total, before[1] + count)
