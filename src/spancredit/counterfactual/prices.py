"""Prices: the tokens that measuring takes, counted before anything is measured."""

from collections.abc import Sequence

from spancredit.counterfactual.measure import PROXIES, Settings, Target


def price_alone(target: Target, settings: Settings, horizon: int | None, packs: bool) -> int:
    """Tokens that a target takes by itself, by whatever measures it."""
    if settings.scorer in PROXIES:
        return len(target.clean.input_ids)
    return Prices([target], settings, packs and settings.scorer == "packed").alone(target, horizon)


class Prices:
    """Tokens that measuring takes, counted before anything is measured."""

    def __init__(self, targets: Sequence[Target], settings: Settings, packs: bool):
        self.targets, self.settings, self.packs = targets, settings, packs

    def of(self, targets: Sequence[Target], horizon: int | None) -> int:
        """A prompt, and whatever else stands before the first span, is counted once for all that share it."""
        heads = {target.clean.input_ids[: target.spans[0][0]] for target in targets}
        tails = sum(len(target.clean.input_ids) - target.spans[0][0] for target in targets)
        return sum(map(len, heads)) + tails + sum(self.branches(target, horizon) for target in targets)

    def alone(self, target: Target, horizon: int | None) -> int:
        return self.of([target], horizon)

    def one_by_one(self, targets: Sequence[Target], horizon: int | None) -> list[int]:
        """What each adds to the price of those before it."""
        seen: set[tuple[int, ...]] = set()
        prices = []
        for target in targets:
            head = target.clean.input_ids[: target.spans[0][0]]
            prices.append(self.alone(target, horizon) - (len(head) if head in seen else 0))
            seen.add(head)
        return prices

    def branches(self, target: Target, horizon: int | None) -> int:
        size, answer = len(target.clean.input_ids), target.clean.answer_start
        if not self.packs:
            return size * len(target.spans)
        tokens = 0
        for start, end in target.spans:
            first = start if self.settings.intervention in ("pad", "filler") else end
            whole = horizon is None or end + horizon >= answer - 1
            tokens += size - first if whole or horizon is None else end + horizon - first + size - answer + 1
        return tokens
