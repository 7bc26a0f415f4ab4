"""Does a signal find the step that went wrong, and what does it leave on filler?

To be run before seeds are spent on a signal:

    python benchmarks/faults.py [--problems N] [--seed S] [--out FILE]

Completions of the bundled policy on held-out problems of the embedded task, where the first wrong equation and the role
of every stretch are known exactly.
"""

import argparse
import json
import random
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from fidelity_samples import Sample, draw_samples

import spancredit as sc
from spancredit.models import load_policy
from spancredit.names import Intervention, ProxyName
from spancredit.weighting import importances, mediated

DIFFICULTIES = ("medium", "hard")
CALCULATIONS = ("calculation", "wrong_calculation")
ROLES = (*CALCULATIONS, "lead_in", "filler", "unit", "last_unit")
FLOOR, SCALE = 0.05, 1.0  # CreditConfig's
Values = list[list[float]]


def signals(model: Any, tokenizer: Any, samples: Sequence[Sample], seed: int) -> dict[str, Values]:
    """For each signal and sample one number a span, in nats but for the controls; the most is blamed or credited."""
    rollouts = [sample.rollout for sample in samples]
    gold = [_with_gold_answer(tokenizer, sample) for sample in samples]
    found: dict[str, Values] = {}
    interventions: tuple[Intervention, ...] = ("pad", "attention")
    for how in interventions:
        config = sc.CreditConfig(intervention=how, influence=True)
        credits = sc.assign_credit(model, tokenizer, rollouts, config)
        drops = found[f"drop, {how}"] = [[span.drop for span in one.spans] for one in credits]
        influences = [one.influence for one in credits if one.influence is not None]
        found[f"later reasoning, {how}"] = [influence_KK.sum(1).tolist() for influence_KK in influences]
        found[f"mediated, {how}"] = [
            mediated(drops_K, influence_KK, FLOOR) for drops_K, influence_KK in zip(drops, influences, strict=True)
        ]
        right = sc.assign_credit(model, tokenizer, gold, replace(config, influence=False))
        found[f"gold target, {how}"] = [[span.drop for span in one.spans] for one in right]
        found[f"contrast, {how}"] = _pairwise(lambda a, b: a - b, drops, found[f"gold target, {how}"])
    proxies: tuple[ProxyName, ...] = ("surprisal", "entropy")
    for proxy in proxies:
        credits = sc.assign_credit(model, tokenizer, rollouts, sc.CreditConfig(scorer=proxy))
        found[f"{proxy}, mean"] = [[span.drop for span in one.spans] for one in credits]
        sizes = [[float(span.size) for span in sample.spans] for sample in samples]
        found[f"{proxy}, sum"] = _pairwise(lambda a, b: a * b, found[f"{proxy}, mean"], sizes)
    for name in ("drop, pad", "mediated, pad"):
        weights = [importances(values, FLOOR, SCALE) for values in found[name]]
        found[f"surprisal, sum x {name}"] = _pairwise(lambda a, b: a * b, found["surprisal, sum"], weights)
    # The first fault is seldom in the first equation, so where an equation stands already tells something.
    for name, nth in (("position, second", 1), ("position, last", -1)):
        found[name] = [_at(sample, nth) for sample in samples]
    draw = random.Random(seed)
    found["random"] = [[draw.random() for _ in sample.spans] for sample in samples]
    return found


def _at(sample: Sample, nth: int) -> list[float]:
    """1 for the equation at this place among the completion's (the last where there are fewer), 0 for other spans."""
    equations = [k for k, role in enumerate(sample.roles) if role in CALCULATIONS]
    chosen = equations[min(nth, len(equations) - 1)] if equations else None
    return [float(k == chosen) for k in range(len(sample.roles))]


def _pairwise(join: Any, one: Values, other: Values) -> Values:
    return [[join(a, b) for a, b in zip(x, y, strict=True)] for x, y in zip(one, other, strict=True)]


def _with_gold_answer(tokenizer: Any, sample: Sample) -> sc.Rollout:
    """The same reasoning, with the true answer in the place of the sampled one."""
    ids, answer = list(sample.rollout.completion_ids), sample.answer
    true = tokenizer(str(sample.problem.answer), add_special_tokens=False)["input_ids"]
    return sc.Rollout(sample.rollout.prompt_ids, [*ids[: answer.start], *true, *ids[answer.end :]])


def faults(samples: Sequence[Sample], values: Values) -> dict[str, float]:
    """In wrong completions with a wrong equation and a right one, which is then before it, since what follows goes on
    from the wrong result: how often the first wrong one has the greatest value, of all equations and of all spans."""
    of_equations, of_spans, chance = [], [], []
    for sample, values_K in zip(samples, values, strict=True):
        equations = [k for k, role in enumerate(sample.roles) if role in CALCULATIONS]
        wrong = [k for k in equations if sample.roles[k] == "wrong_calculation"]
        if sample.right or not wrong or len(wrong) == len(equations):
            continue
        of_equations.append(max(equations, key=values_K.__getitem__) == wrong[0])
        of_spans.append(max(range(len(values_K)), key=values_K.__getitem__) == wrong[0])
        chance.append(1 / len(equations))
    return {"equations": mean(of_equations), "spans": mean(of_spans), "chance": mean(chance), "count": len(chance)}


def by_role(samples: Sequence[Sample], values: Values, name: str) -> dict[str, float]:
    """Mean importance of each role in right completions, as weights are made of it: of drops above the noise floor and
    over a nat at least, of mediated credit without another floor, of signals in no nats over their largest."""
    floor = FLOOR if name.startswith(("drop", "gold", "contrast", "later")) else 0.0
    scale = SCALE if floor or name.startswith("mediated") else sys.float_info.min
    found: dict[str, list[float]] = defaultdict(list)
    for sample, values_K in zip(samples, values, strict=True):
        if sample.right:
            for role, importance in zip(sample.roles, importances(values_K, floor, scale), strict=True):
                found[role].append(importance)
    return {role: mean(found[role]) for role in ROLES if found[role]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=800, help="problems drawn, one completion each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/faults.json"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    started = time.process_time()
    model, tokenizer = load_policy("bundled")
    samples = draw_samples(model, tokenizer, given.problems, DIFFICULTIES, given.seed)
    found = signals(model, tokenizer, samples, given.seed)
    tables = {name: {"faults": faults(samples, v), "roles": by_role(samples, v, name)} for name, v in found.items()}
    right = sum(sample.right for sample in samples)
    facts = {"kept": len(samples), "right": right, "seconds": round(time.process_time() - started), **vars(given)}
    given.out.write_text(json.dumps({"run": facts | {"out": str(given.out)}, "signals": tables}, indent=1) + "\n")
    count = tables["random"]["faults"]["count"]
    print(f"{len(samples)} completions, {right} right; {count} wrong ones with right and wrong equations")
    print(f"{'signal':32} {'equations':>10} {'spans':>8}   " + " ".join(f"{role[:11]:>11}" for role in ROLES))
    for name, table in tables.items():
        roles = " ".join(f"{table['roles'].get(role, float('nan')):11.2f}" for role in ROLES)
        print(f"{name:32} {table['faults']['equations']:10.1%} {table['faults']['spans']:8.1%}   {roles}")
    print(f"chance of equations: {tables['random']['faults']['chance']:.1%}")


if __name__ == "__main__":
    main()
