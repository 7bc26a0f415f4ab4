"""One of the processes that `scaling.py --check` launches: counts what scoring and training do, and times the waiting.

python -m torch.distributed.run --nproc_per_node 2 benchmarks/scaling_measure.py OUT.json
"""

import json
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import torch.distributed as dist
from scaling_count import counted
from scaling_host import host, training
from scaling_setting import GROUP, SPANS, everyone, policy, scoring

import spancredit as sc
from spancredit.counterfactual.lockstep import Lockstep

REPEATS = 5


def count(model: Any, spans: int, ranks: Any, horizon: int | None = None, group: int = GROUP) -> dict[str, Any]:
    """What one scoring took on this rank, after a first one that checks itself."""
    run = scoring(model, spans, ranks, horizon, group)
    run()
    made: list[Lockstep] = []
    init = Lockstep.__init__

    def noted(self: Lockstep, *a: Any) -> None:
        init(self, *a)
        made.append(self)

    tokens: Counter[str] = Counter()

    def forwarded(module: Any, given: Any, named: dict[str, Any]) -> None:
        size = named["input_ids"].numel()
        tokens["tokens"] += size
        tokens["forwards" if size else "heads"] += 1

    hook = model.register_forward_pre_hook(forwarded, with_kwargs=True)
    with counted() as seen, patch.object(Lockstep, "__init__", noted):
        credits = run()
    hook.remove()
    own = sum((credit.cost for credit in credits), sc.Cost())
    found = {**seen, **tokens, "own_tokens": own.tokens, "own_forwards": own.forwards}
    return found | ({"made": made[0].made} if made else {})


def seconds(contestants: dict[str, Callable[[], Any]]) -> dict[str, dict[str, list[float]]]:
    """In each round every contestant once: seconds of the clock and of the processor, of the rank that took most."""
    found: dict[str, dict[str, list[float]]] = {name: {"clock": [], "processor": []} for name in contestants}
    for _ in range(REPEATS):
        for name, run in contestants.items():
            dist.barrier()
            started, used = time.perf_counter(), time.process_time()
            run()
            took = everyone((time.perf_counter() - started, time.process_time() - used))
            for kind, values in zip(found[name].values(), zip(*took, strict=True), strict=True):
                kind.append(max(values))
    return found


def waiting() -> dict[str, Any]:
    """Uneven: rank 0 has spans and the others none, shared out or not. Even: in step or, since all ranks make the same
    forwards by themselves, without."""
    group = dist.new_group(backend="gloo")
    whole, shards = policy(shard=False), policy(shard=True)
    mine = SPANS if dist.get_rank() == 0 else 0
    even = scoring(shards, SPANS, group)

    @contextmanager
    def unaccompanied(*_: Any) -> Iterator[None]:
        yield

    def alone() -> Any:
        with patch("spancredit.credit.in_step", unaccompanied):
            return even()

    runs = {
        "uneven, shared out": scoring(whole, mine, group),
        "uneven, not": scoring(whole, mine, None),
        "even, in step": even,
        "even, not": alone,
    }
    for run in runs.values():
        run()
    found = seconds(runs)

    def ratio(one: str, other: str) -> dict[str, float]:
        return {
            kind: statistics.median(found[one][kind]) / statistics.median(found[other][kind]) for kind in found[one]
        }

    return {
        "seconds": found,
        "balanced_over_not": ratio("uneven, shared out", "uneven, not"),
        "in_step_over_not": ratio("even, in step", "even, not"),
    }


def main() -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    group = dist.new_group(backend="gloo")
    mine = SPANS if dist.get_rank() == 0 else 0
    whole, shards = policy(shard=False), policy(shard=True)
    found = {
        "processes": dist.get_world_size(),
        "whole, even": everyone(count(whole, SPANS, group)),
        "whole, horizon 16": everyone(count(whole, SPANS, group, horizon=16)),
        "whole, uneven": everyone(count(whole, mine, group)),
        "sharded, even": everyone(count(shards, SPANS, group)),
        "sharded, uneven": everyone(count(shards, mine, group)),
        "sharded, unlike": everyone(count(shards, SPANS // (1 + dist.get_rank()), group, group=1)),
    }
    found |= {"waiting": waiting()} if dist.get_world_size() > 1 else {"host": host()}
    found["training"] = everyone(training())
    if dist.get_rank() == 0:
        Path(sys.argv[1]).write_text(json.dumps(found, indent=1), encoding="utf-8")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
