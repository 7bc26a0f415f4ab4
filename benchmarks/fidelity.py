"""How far can each cheap signal, and each intervention, be trusted? The figures of docs/fidelity.md.

    python benchmarks/fidelity.py [--problems N] [--continuations N] [--seed S] [--out FILE] [--picture FILE]

Completions of the bundled policy on held-out problems of the embedded task. Table A compares cheap signals with exact
drops; table B compares signals with the outcome, by resampling what follows each span.
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from fidelity_report import picture, tables
from fidelity_samples import Sample, draw_samples, outcomes
from fidelity_signals import HORIZONS, INTERVENTIONS, PROXIES, deletion_areas, measure_all, placebo_drops
from fidelity_tables import exact_table, outcome_tables, placebo_table, reference_signals

from spancredit.models import load_policy

DIFFICULTIES = ("easy", "medium")


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=180, help="problems drawn, one completion each")
    parser.add_argument("--continuations", type=int, default=48, help="resampled from each boundary of spans; even")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/fidelity.json"))
    parser.add_argument("--picture", type=Path, default=Path("docs/images/fidelity-horizon.svg"))
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    started, processor = time.time(), time.process_time()
    model, tokenizer = load_policy("bundled")
    samples = draw_samples(model, tokenizer, given.problems, DIFFICULTIES, given.seed)
    _say(f"{len(samples)} completions of {given.problems} kept")
    signals = measure_all(model, tokenizer, samples, given.seed)
    areas = deletion_areas(model, samples, reference_signals("pad", signals), model.config.pad_token_id, given.seed)
    placebo = placebo_drops(model, tokenizer, samples)
    _say(f"signals measured after {time.process_time() - processor:.0f} s; resampling")
    generator = torch.Generator().manual_seed(given.seed + 1)
    found_outcomes = outcomes(model, tokenizer, samples, given.continuations, generator)
    found = {
        "run": describe(samples, vars(given)),
        "exact": {name: exact_table(name, signals, areas if name == "pad" else None) for name in INTERVENTIONS},
        **outcome_tables(samples, signals, found_outcomes),
        "placebo": placebo_table(samples, signals, placebo),
    }
    found["run"] |= {
        "processor_seconds": round(time.process_time() - processor),
        "seconds": round(time.time() - started),
        "torch": torch.__version__,
    }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(found, indent=1) + "\n")
    picture(found, HORIZONS, PROXIES, given.picture)
    print(json.dumps(found["run"], indent=1), tables(found), sep="\n\n")
    return found


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def describe(samples: Sequence[Sample], given: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{name: given[name] for name in ("problems", "continuations", "seed")},
        "completions": len(samples),
        "right": sum(sample.right for sample in samples),
        "spans": sum(len(sample.spans) for sample in samples),
        "by_difficulty": {name: sum(sample.difficulty == name for sample in samples) for name in DIFFICULTIES},
    }


if __name__ == "__main__":
    main()
