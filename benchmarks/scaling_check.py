"""`scaling.py --check`: the model against what one and two processes on this machine did."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import scaling_setting as setting
from scaling_model import Work, parcel_bytes, parts_of, price_bytes, record_bytes, row_bytes

from spancredit.counterfactual.balance import moves_for
from spancredit.counterfactual.packed import part_sizes
from spancredit.models import load_policy

FOLDER = Path(__file__).parent
WORK = Work(setting.PROMPT, setting.COMPLETION, setting.SPANS, setting.GROUP, setting.SHAPE.vocab)
CHARACTERS = 2.4  # of a token of the bundled policy
NO_WORK = replace(WORK, spans=0, group=0)


@dataclass(frozen=True)
class Line:
    """A figure of one rank, as the model says and as it was counted."""

    what: str
    modelled: float
    measured: float

    @property
    def off(self) -> float:
        return self.modelled / self.measured - 1 if self.measured else float(self.modelled != 0)

    def __str__(self) -> str:
        return f"| {self.what} | {self.modelled:,.0f} | {self.measured:,.0f} | {self.off:+.1%} |"


def measured(processes: int) -> dict[str, Any]:
    """What `scaling_measure.py` found in so many processes."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "found.json"
        launch = ["-m", "torch.distributed.run", f"--nproc_per_node={processes}", "--log-dir", folder, "--redirects=3"]
        subprocess.run([sys.executable, *launch, str(FOLDER / "scaling_measure.py"), str(out)], check=True)
        return dict(json.loads(out.read_text(encoding="utf-8")))


def lines(found: dict[str, Any]) -> Iterator[Line]:
    """Every figure that the model gives, of the first rank."""
    ranks = found["processes"]
    model = setting.policy(shard=False)
    sizes = part_sizes(model, WORK.size - 1, setting.MOST)
    layers = sum(p.numel() * p.element_size() for layer in model.model.layers for p in layer.parameters())
    shares = share_out([WORK, *[NO_WORK] * (ranks - 1)])
    alone = replace(WORK, group=1)
    for name, work, given, turns in (
        ("whole, even", WORK, 0, 1),
        ("whole, horizon 16", replace(WORK, horizon=16), 0, 1),
        ("whole, uneven", shares[0], WORK.group - shares[0].group, 1),
        ("sharded, even", WORK, 0, 1),
        ("sharded, uneven", shares[0], WORK.group - shares[0].group, 1),
        ("sharded, unlike", alone, 0, ranks),  # a rollout each, of 20 and of 10 spans: they read logits in turn
    ):
        seen = found[name][0]
        forwards = parts_of([work], *sizes)
        yield Line(f"{name}: tokens forwarded", work.tokens, seen["tokens"])
        yield Line(f"{name}: forwards", forwards, seen["forwards"])
        yield Line(f"{name}: most keys and values kept, tokens", work.size, seen["kept"])
        if ranks > 1:
            yield Line(f"{name}: prices, bytes sent", price_bytes(work, work.group + given), seen["shared_out"])
        if given:
            there, back = parcel_bytes(WORK, given)
            yield Line(f"{name}: {given} rollouts given, bytes", there, seen["_send"])
            yield Line(f"{name}: their results, bytes", back, found[name][1]["_send"])
        if "made" in seen:
            yield Line(f"{name}: forwards made in step, the head's among them", forwards + turns, seen["made"])
            yield Line(f"{name}: bytes all-reduced", 8 * (forwards + turns + 1), seen["steps_bytes"])
        if ranks > 1 and "made" in seen:
            received = forwards * layers * (ranks - 1) / ranks
            yield Line(f"{name}: parameters received, bytes", received, seen["parameters_received"])
    yield from trained(found)


def trained(found: dict[str, Any]) -> Iterator[Line]:
    """Of a real training step: rollouts, as the ranks gather them for dynamic sampling and for an observer."""
    batch, ranks = found["training"][0]["batches"][0], found["processes"]
    count = batch["rollouts"]
    prompt, completion, spans = (round(batch[name] / count) for name in ("prompt", "completion", "spans"))
    work = Work(prompt, completion, spans, 8, load_policy("bundled")[0].config.vocab_size)
    sent = [one["sent"] for one in found["training"]]
    yield Line(
        "trained: a rollout for dynamic sampling, bytes", row_bytes(work), sum(s["_groups"] for s in sent) / count
    )
    if ranks > 1:
        reported = sum(s["observer"] for s in sent) / count
        yield Line(
            "trained: a rollout with its credit for an observer, bytes", record_bytes(work, CHARACTERS), reported
        )


def share_out(works: Sequence[Work]) -> list[Work]:
    """The works after ranks have shared them out, jobs alike."""
    given = [0] * len(works)
    for move in moves_for([[work.price] * work.group for work in works]):
        given[move.giver] -= 1
        given[move.taker] += 1
    most = max(works, key=lambda work: work.spans)
    return [replace(most, group=work.group + change) for work, change in zip(works, given, strict=True)]


def check(out: Path) -> None:
    """Measures, writes what was found, and prints it beside the model."""
    found = [measured(processes) for processes in (1, 2)]
    compared = {}
    for one in found:
        print(f"\n{one['processes']} process(es)\n\n| of rank 0 | modelled | measured | off |\n|---|---:|---:|---:|")
        compared[one["processes"]] = list(lines(one))
        print("\n".join(map(str, compared[one["processes"]])))
    host, waiting = found[0]["host"], found[1]["waiting"]
    print(f"\nUnpickled: {host['unpickled'] / 1e9:.1f} GB a second.")
    print(f"Planning: {host['microseconds']:.1f} microseconds and {host['bytes']:.0f} bytes a token.")
    for what, name in {
        "Uneven work, shared out over not": "balanced_over_not",
        "Even work in shards, in step over not": "in_step_over_not",
    }.items():
        clock, processor = waiting[name]["clock"], waiting[name]["processor"]
        print(f"{what}, of the rank that takes most: {clock:.2f} by the clock, {processor:.2f} by the processor.")
    told = {count: [vars(line) | {"off": line.off} for line in some] for count, some in compared.items()}
    out.write_text(json.dumps({"compared": told, "measured": found}, indent=1) + "\n", encoding="utf-8")
