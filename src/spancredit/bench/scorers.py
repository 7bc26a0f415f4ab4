"""`spancredit bench scorers`: every way to measure credit on the same work, beside one policy forward."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from scipy.stats import spearmanr

from spancredit.bench.contestants import Contestant, credit, drops_of, policy_forward, published, published_bytes
from spancredit.bench.floor import policy_need
from spancredit.bench.machine import machine
from spancredit.bench.models import Source, prices_of
from spancredit.bench.price import price
from spancredit.bench.timing import free_bytes, ratios, rounds
from spancredit.bench.work import Work
from spancredit.config import CreditConfig
from spancredit.errors import UnknownNameError

POLICY, PUBLISHED = "policy forward", "published"
SCORERS = (PUBLISHED, "sequential", "batched", "packed")


@dataclass(frozen=True)
class Way:
    """One way to measure credit."""

    scorer: str
    intervention: str
    horizon: int | None = None

    @property
    def name(self) -> str:
        return f"{self.measure}, {self.intervention}"

    @property
    def measure(self) -> str:
        return self.scorer if self.horizon is None else f"{self.scorer}, horizon {self.horizon}"

    @property
    def config(self) -> CreditConfig:
        settings: Any = {"scorer": self.scorer, "intervention": self.intervention, "horizon": self.horizon}
        return CreditConfig(**settings)


def ways(scorers: Sequence[str], interventions: Sequence[str], horizons: Sequence[int]) -> list[Way]:
    """Every exact scorer and every horizon, for each intervention."""
    return [
        way
        for intervention in interventions
        for way in (
            *(Way(scorer, intervention) for scorer in scorers if scorer != PUBLISHED),
            *(Way("packed", intervention, horizon) for horizon in horizons),
        )
    ]


def bench_scorers(
    source: Source,
    make_work: Callable[[Any, Any], Work],
    scorers: Sequence[str],
    interventions: Sequence[str],
    horizons: Sequence[int],
    repeats: int,
    note: Callable[[str], Any] = lambda _: None,
) -> dict[str, Any]:
    """Ratios to one policy forward, floors, and what the numbers of each way have in common with the definition's.

    Where `sequential` is not among the scorers, the first that is stands in for it, and is named. Every contestant
    runs once beforehand, untimed: that run warms up, holds a scorer to the definition, and gives the drops compared.
    """
    for scorer in scorers:
        if scorer not in SCORERS:
            raise UnknownNameError("scorer", scorer, SCORERS)
    compared = ways(scorers, interventions, horizons)
    configs = {way: way.config for way in compared}
    note("loading the model")
    model, tokenizer = source.load()
    work = make_work(model, tokenizer)
    prices, forward = prices_of(model), policy_need(work.items)
    contestants: dict[str, Contestant] = {POLICY: policy_forward(model, work.items)}
    needed, free = published_bytes(model, work.items), free_bytes(source.device)
    if PUBLISHED in scorers and (free is None or needed < free // 2):
        contestants[PUBLISHED] = published(model, work.items, work.pad)
    drops: dict[Way, list[float]] = {}
    for way, config in configs.items():
        note(way.name)
        run_credit = credit(model, work, config)
        drops[way] = drops_of(run_credit())
        contestants[way.name] = run_credit
    for baseline in {POLICY, PUBLISHED} & contestants.keys():
        contestants[baseline]()
    seconds = rounds(contestants, repeats, source.device, note)
    ratio = ratios(seconds, POLICY)
    rows: list[dict[str, Any]] = [{"name": POLICY, "ratio": 1.0}]
    if PUBLISHED in scorers:
        rows.append({"name": PUBLISHED, "ratio": ratio.get(PUBLISHED), "bytes_of_logits": needed})
    for way, config in configs.items():
        floor = price(work.need(config), prices) / price(forward, prices) if way.scorer == "packed" else None
        exact = drops[reference_of(way, compared)]
        rows.append({"name": way.name, "ratio": ratio[way.name], "floor": floor, **_agreement(way, drops[way], exact)})
    for row in rows:
        row["seconds"] = seconds.get(row["name"], [])
    return {
        "kind": "scorers",
        "source": source.facts(),
        "work": work.facts(),
        "policy_seconds": median(seconds[POLICY]),
        "repeats": repeats,
        "machine": machine(source.device),
        "reference": reference_of(compared[0], compared).measure if compared else None,
        "rows": rows,
    }


def reference_of(way: Way, compared: Sequence[Way]) -> Way:
    """What a way's numbers are held to: the definition under the same intervention, or else the first there is."""
    same = [other for other in compared if other.intervention == way.intervention]
    return next((other for other in same if other.scorer == "sequential"), same[0])


def _agreement(way: Way, drops_K: Sequence[float], exact_K: Sequence[float]) -> dict[str, float | None]:
    """Of an exact way the greatest difference (nats) from the definition; of a horizon the rank correlation."""
    if way.horizon is None:
        return {"difference": max(abs(a - b) for a, b in zip(drops_K, exact_K, strict=True))}
    rank = float(spearmanr(drops_K, exact_K).statistic) if len(set(drops_K)) > 1 and len(set(exact_K)) > 1 else math.nan
    return {"spearman": None if math.isnan(rank) else rank}
