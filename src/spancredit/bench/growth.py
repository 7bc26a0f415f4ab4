"""`spancredit bench growth`: how the cost of packed credit grows with spans, length, group and vocabulary."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from spancredit.bench.contestants import credit, drops_of, policy_forward
from spancredit.bench.floor import policy_need
from spancredit.bench.machine import machine
from spancredit.bench.models import Source, prices_of
from spancredit.bench.price import price
from spancredit.bench.timing import peak_bytes, ratios, rounds
from spancredit.bench.work import Sizes, random_work, vocabulary_of
from spancredit.config import CreditConfig
from spancredit.errors import ConfigError, UnknownNameError


@dataclass(frozen=True)
class Table:
    """One size that grows while the others stay.

    Args:
        what: What grows.
        values: Its sizes.
        quick: How many of them `--quick` takes.
        sizes: The work; the number of rollouts is the most there are.
    """

    what: str
    values: tuple[int, ...]
    quick: int
    sizes: Sizes


TABLES = {
    "spans": Table("spans", (2, 4, 8, 16, 32, 64), 4, Sizes(completion=512)),
    "completion": Table("completion tokens", (128, 256, 512, 1024, 2048, 4096), 3, Sizes()),
    "group": Table("group size", (1, 2, 4, 8, 16), 3, Sizes(rollouts=16)),
    "vocabulary": Table("vocabulary", (1024, 4096, 16384, 65536, 262144), 3, Sizes()),
}


def bench_growth(
    source: Source,
    tables: Sequence[str],
    quick: bool,
    rollouts: int | None,
    config: CreditConfig,
    repeats: int,
    note: Callable[[str], Any] = lambda _: None,
) -> dict[str, Any]:
    """For each size: the ratio of credit to one policy forward, its floor, and the memory of both.

    Args:
        quick: Only the smaller sizes of each table.
        rollouts: How many are scored together, instead of each table's own number.
        config: How credit is measured.
    """
    for name in tables:
        if name not in TABLES:
            raise UnknownNameError("table", name, TABLES)
    if "vocabulary" in tables and source.shape is None:
        raise ConfigError("the vocabulary of a saved model is what it is; expected --shape, or other --tables.")
    loaded: dict[Source, Any] = {}
    found = {}
    for name in tables:
        table = TABLES[name]
        sizes = replace(table.sizes, rollouts=rollouts or table.sizes.rollouts)
        rows = []
        for value in table.values[: table.quick] if quick else table.values:
            grown, here = _grown(name, value, sizes), source
            if name == "vocabulary":
                assert source.shape is not None  # refused above
                here = replace(source, shape=replace(source.shape, vocab=value))
            if grown is None:
                continue
            note(f"{table.what} {value}")
            if here not in loaded:
                loaded.clear()  # one model at a time
                loaded[here] = here.load()[0]
            rows.append({"value": value, **_row(loaded[here], grown, here, config, repeats)})
        found[name] = {"what": table.what, "sizes": vars(sizes), "rows": rows}
    return {
        "kind": "growth",
        "source": source.facts(),
        "repeats": repeats,
        "machine": machine(source.device),
        "tables": found,
    }


def _grown(name: str, value: int, sizes: Sizes) -> Sizes | None:
    """The sizes of one row; None if the rollouts do not make groups of this size."""
    if name == "vocabulary":
        return sizes
    return None if name == "group" and sizes.rollouts % value else replace(sizes, **{name: value})


def _row(model: Any, sizes: Sizes, source: Source, config: CreditConfig, repeats: int) -> dict[str, Any]:
    work = random_work(sizes, *vocabulary_of(model), source.seed)
    run, forward = credit(model, work, config), policy_forward(model, work.items)
    drops_of(run())  # warms up, and says what cannot be scored
    forward()
    peaks = {"bytes": peak_bytes(run, source.device), "policy_bytes": peak_bytes(forward, source.device)}
    seconds = rounds({"credit": run, "policy": forward}, repeats, source.device)
    prices, ratio = prices_of(model), ratios(seconds, "policy")["credit"]
    floor = price(work.need(config), prices) / price(policy_need(work.items), prices)
    return {
        "ratio": ratio,
        "floor": floor,
        "over_floor": ratio / floor,
        "seconds": seconds["credit"],
        "policy_seconds": median(seconds["policy"]),
        **peaks,
    }
