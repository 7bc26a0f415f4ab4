"""Every signal for the spans of samples, what it costs, deletion curves, and placebos."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np
from fidelity_samples import Sample
from fidelity_stats import curve_area

import spancredit as sc
from spancredit.counterfactual.forward import eval_mode
from spancredit.counterfactual.interventions import Row, intervene, replacement_ids
from spancredit.counterfactual.scorers import SCORERS
from spancredit.names import Intervention, ProxyName

INTERVENTIONS: tuple[Intervention, ...] = get_args(Intervention)
PROXIES = tuple(f"proxy {name}" for name in get_args(ProxyName))
HORIZONS = (64, 32, 16, 8, 4, 0)
CONTROLS = ("calculation", "length", "position", "random")
MOST_TOKENS = 16384
RANDOM_ORDERS = 4  # whose deletion curves are averaged


@dataclass(frozen=True)
class Measured:
    """A signal: for each sample one number for each span, and the tokens that went through the model for it."""

    values: list[list[float]]
    tokens: int = 0


def horizon_name(intervention: str, horizon: int) -> str:
    return f"{intervention} horizon {horizon}"


def measure_all(model: Any, tokenizer: Any, samples: Sequence[Sample], seed: int) -> dict[str, Measured]:
    """Every signal by name: interventions, each with every horizon that it takes, proxies and controls."""
    settings: dict[str, sc.CreditConfig] = {}
    for intervention in INTERVENTIONS:
        exact = settings[intervention] = sc.CreditConfig(intervention=intervention)
        for horizon in HORIZONS if intervention != "delete" else ():
            settings[horizon_name(intervention, horizon)] = replace(exact, horizon=horizon)
    settings |= {f"proxy {name}": sc.CreditConfig(scorer=name) for name in get_args(ProxyName)}
    found = {name: _measure(model, tokenizer, samples, config) for name, config in settings.items()}
    generator = np.random.default_rng(seed)
    for name in CONTROLS:
        found[name] = Measured([_control(name, sample, generator) for sample in samples])
    return found


def _measure(model: Any, tokenizer: Any, samples: Sequence[Sample], config: sc.CreditConfig) -> Measured:
    credits = sc.assign_credit(model, tokenizer, [sample.rollout for sample in samples], config)
    for sample, credit in zip(samples, credits, strict=True):
        assert [(s.start, s.end) for s in credit.spans] == [(s.start, s.end) for s in sample.spans], credit.reason
    return Measured([[span.drop for span in credit.spans] for credit in credits], sum(c.cost.tokens for c in credits))


def _control(name: str, sample: Sample, generator: np.random.Generator) -> list[float]:
    if name == "calculation":
        return [float(span.kind == "calculation") for span in sample.spans]
    if name == "length":
        return [float(span.size) for span in sample.spans]
    if name == "position":
        return [float(span.start) for span in sample.spans]
    return generator.random(len(sample.spans)).tolist()


def answer_logps(model: Any, rows: Sequence[Row]) -> list[float]:
    with eval_mode(model):
        return [logps[-1] for logps, _ in SCORERS["packed"](model, rows, 1.0, MOST_TOKENS)]


def deletion_areas(
    model: Any, samples: Sequence[Sample], signals: Mapping[str, Measured], pad: int, seed: int
) -> dict[str, list[float]]:
    """For each signal and sample the mean fall of the answer's log-probability while spans are padded one by one.

    The span that the signal puts first goes first. `random order` is the mean of several orders.
    """
    generator = np.random.default_rng(seed)
    areas: dict[str, list[float]] = {name: [] for name in (*signals, "random order")}
    for nth, sample in enumerate(samples):
        orders = {name: [list(np.argsort(-np.array(m.values[nth]), kind="stable"))] for name, m in signals.items()}
        orders["random order"] = [list(generator.permutation(len(sample.spans))) for _ in range(RANDOM_ORDERS)]
        removed = {frozenset(o[:k]) for several in orders.values() for o in several for k in range(len(o) + 1)}
        ordered = sorted(removed, key=sorted)
        logps = dict(zip(ordered, answer_logps(model, [without(sample, gone, pad) for gone in ordered]), strict=True))
        for name, several in orders.items():
            curves = [[logps[frozenset(order[:k])] for k in range(len(order) + 1)] for order in several]
            areas[name].append(float(np.mean([curve_area(curve) for curve in curves])))
    return areas


def without(sample: Sample, gone: frozenset[int], pad: int) -> Row:
    """The sample with these spans padded."""
    ids = list(sample.clean.input_ids)
    for k in gone:
        start, end = sample.ranges[k]
        ids[start:end] = [pad] * (end - start)
    return replace(sample.clean, input_ids=tuple(ids))


def placebo_drops(model: Any, tokenizer: Any, samples: Sequence[Sample]) -> dict[str, list[float]]:
    """By intervention the answer's drops for stretches of the prompt that do not matter, one for each span."""
    clean = answer_logps(model, [sample.clean for sample in samples])
    stretches = [placebo_stretches(tokenizer, sample) for sample in samples]
    found: dict[str, list[float]] = {}
    for name in INTERVENTIONS:
        replacement = replacement_ids(name, sc.CreditConfig().filler, tokenizer, model.config.pad_token_id)
        rows = [
            intervene(sample.clean, stretch, name, replacement)
            for sample, several in zip(samples, stretches, strict=True)
            for stretch in several
        ]
        before = [logp for logp, several in zip(clean, stretches, strict=True) for _ in several]
        found[name] = [b - a for b, a in zip(before, answer_logps(model, rows), strict=True)]
    return found


def placebo_stretches(tokenizer: Any, sample: Sample) -> list[tuple[int, int]]:
    """For each span as many tokens from the end of the question's last sentence, or all of it if it is shorter.

    That sentence asks how many there are: it has no number and no operation.
    """
    prompt = sample.problem.prompt
    end, start = prompt.index("\nSolution"), prompt.rindex(". ") + 1
    offsets = tokenizer(prompt, return_offsets_mapping=True)["offset_mapping"]
    inside = [i for i, (first, last) in enumerate(offsets) if start <= first and last <= end]
    return [(max(inside[0], inside[-1] + 1 - span.size), inside[-1] + 1) for span in sample.spans]
