"""What credit costs at scale: a model, counted; its check on this machine; and its tables for 8, 64 and 512 GPUs.

    python benchmarks/scaling.py                 # tables: counts, and times that follow from assumptions
    python benchmarks/scaling.py --check         # 1 and 2 processes on the CPU, into benchmarks/scaling-cpu.json

The batch is DAPO's: 512 prompts of 16 completions. Policies of 7B and 70B are sharded over all GPUs (FSDP2), the one of
1.5B is whole on each. Nothing in the tables was measured on a GPU.
"""

import argparse
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from scaling_check import check
from scaling_cost import GIGA, GPU, LARGE, Batch, Step, logits_bytes, policy, scored, step
from scaling_model import parcel_bytes

from spancredit.config import CreditConfig
from spancredit.counterfactual.balance import moves_for

GPUS, COMPLETIONS, METHODS = (8, 64, 512), (1000, 4000, 16000), ("exact", "horizon", "budget")
OUT = Path(__file__).parent / "scaling-cpu.json"
MOST = CreditConfig().max_tokens_per_forward


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Prints Markdown."""
    print("| " + " | ".join(head) + " |\n|---" + "|---:" * (len(head) - 1) + "|")
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |")


def number(value: float) -> str:
    """With two significant digits, or all of a whole number's."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def breaks(one: Step, at: GPU) -> str:
    """What is used most, over what there is of it: of memory what is free, of time what the loss or a forward takes."""
    free = at.memory - one.state
    used = {
        "weights and Adam over memory": one.state / at.memory,
        "keys and values over free memory": one.keys / free if free > 0 else 0.0,
        "host": (one.host + 3 * one.rows) / at.host,  # rows as they are sent, as they arrive, and as tensors
        "credit over loss": one.compute / one.loss,
        "planning over forwards": one.planning / one.compute,
        "gathering over forwards": one.over,
        "keeping step over forwards": one.company / one.compute,
        "reading rows over loss": one.reading / one.loss,
    }
    return max(((share, f"{what}, {number(share)}") for what, share in used.items()))[1]


def of_a_rollout() -> None:
    rows = []
    for completion in COMPLETIONS:
        batch = Batch(completion)
        for how in METHODS:
            found = scored(batch, policy("7B").vocab, how)
            tokens = found.share * found.work.tokens / batch.group
            rows.append(
                (completion, how, found.method, f"{found.share:.0%}", number(tokens), number(tokens / found.work.size))
            )
    print("\n## A rollout\n")
    table(("completion", "setting", "measured by", "scored", "tokens", "in rollouts"), rows)


def of_a_step(at: GPU, most: int) -> None:
    """Every cell has the figures of 8, 64 and 512 GPUs."""
    times: list[list[str]] = []
    waits: list[list[str]] = []
    sizes: list[list[str]] = []
    used: list[list[str]] = []
    for name in LARGE:
        for completion in COMPLETIONS:
            found = [
                [step(Batch(completion), policy(name), n, how, name != "1.5B", at, most) for n in GPUS]
                for how in METHODS
            ]
            exact, where = found[0], [name, str(completion)]

            def each(read: Callable[[Step], float], of: Sequence[Step] = exact) -> str:
                return " / ".join(number(read(one)) for one in of)

            times.append([*where, each(lambda one: one.loss), *(each(lambda one: one.compute, some) for some in found)])
            waits.append([
                *where, each(lambda one: one.forwards), each(lambda one: one.planning), each(lambda one: one.over),
                each(lambda one: one.company), each(lambda one: one.reading),
            ])  # fmt: skip
            gigabytes = ("gathered", "state", "keys", "host", "rows", "records")
            sizes.append([*where, *(each(lambda one, n=n: getattr(one, n) / GIGA) for n in gigabytes)])  # type: ignore[misc]
            used.append([*where, *("; ".join(dict.fromkeys(breaks(one, at) for one in some)) for some in found)])
    named = ("policy", "completion")
    print("\n## Seconds of a step, on 8 / 64 / 512 GPUs\n")
    table((*named, "loss", "exact", "horizon 64", "budget 0.1"), times)
    print("\n## What a GPU waits for under exact, seconds\n")
    table((*named, "forwards", "planning", "gathering, over a forward", "keeping step, at most", "reading rows"), waits)
    print("\n## Bytes under exact, GB\n")
    table((*named, "gathered a forward", "state", "keys and values", "host", "rows", "records"), sizes)
    print("\n## Most used, over what there is of it\n")
    table((*named, *METHODS), used)


def of_forwards(at: GPU) -> None:
    print("\n## 7B on 512 GPUs, completions of 4000: gathering over a forward, by max_tokens_per_forward\n")
    rows = []
    for most in (2**11, 2**12, 2**13, 2**14, 2**15):
        one = step(Batch(4000), policy("7B"), 512, "exact", True, at, most)
        rows.append((most, one.forwards, f"{one.over:.0%}", number(one.keys / GIGA)))
    table(("max_tokens_per_forward", "forwards", "gathering over forward", "keys, GB"), rows)


def moves(batch: Batch, vocab: int, gpus: int, seed: int = 0) -> tuple[int, float, float]:
    """Rollouts that travel where completions have between a quarter and all of the length; bytes of them all, and the
    largest load before the moves, over the mean."""
    draw = random.Random(seed)
    each = batch.rollouts // gpus
    loads = []
    for _ in range(gpus):
        sizes = [draw.randint(batch.completion // 4, batch.completion) for _ in range(each)]
        loads.append([replace(batch.work(vocab), completion=size).price for size in sizes])
    there, back = parcel_bytes(batch.work(vocab), 1)
    found = moves_for(loads)
    totals = [sum(some) for some in loads]
    return len(found), len(found) * (there + back), max(totals) * len(totals) / sum(totals)


def of_moves() -> None:
    print("\n## Rollouts that travel, completions between a quarter of the length and all of it\n")
    rows = []
    for gpus in GPUS:
        count, sent, worst = moves(Batch(4000), policy("7B").vocab, gpus)
        rows.append((gpus, count, number(sent / 1e6), f"{worst:.2f}"))
    table(("GPUs", "rollouts", "MB, all together", "largest load over the mean, before"), rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="measure on this machine instead of printing tables")
    parser.add_argument("--out", type=Path, default=OUT, help="where --check writes")
    parser.add_argument("--max_tokens_per_forward", type=int, default=MOST)
    given = parser.parse_args()
    if given.check:
        check(given.out)
        return
    at = GPU()
    print("Assumptions, not measurements:", ", ".join(f"{name} {value:g}" for name, value in vars(at).items()))
    print(f"A chunk of logits takes {logits_bytes() / GIGA:.2f} GB in float32.")
    of_a_rollout()
    of_a_step(at, given.max_tokens_per_forward)
    of_forwards(at)
    of_moves()


if __name__ == "__main__":
    main()
