"""The plan of a study: arms, seeds, learning rates, and the settings that all runs share.

tuning     every arm at every rate, on seeds of its own
headline   every arm at its best rate and at the common one, on the seeds of the study
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from statistics import mean
from typing import Any

import yaml

from spancredit.errors import ConfigError, UnknownNameError

ARMS: dict[str, dict[str, Any]] = {
    "uniform": {"credit_mode": "uniform"},
    "counterfactual": {"credit_mode": "counterfactual"},
    "mediated": {"credit_mode": "mediated"},
    "blame": {"credit_mode": "blame"},
    "inverted": {"credit_mode": "inverted"},
    "random": {"credit_mode": "random"},
    "surprisal": {"credit_scorer": "surprisal"},
    "entropy": {"credit_scorer": "entropy"},
    "attention": {"credit_scorer": "attention"},
    "gradient": {"credit_scorer": "gradient"},
    "steps": {"credit_mode": "uniform", "step_advantages": "group"},
    "monte_carlo": {"credit_mode": "uniform", "step_advantages": "resampled"},
}
MEASURES = {"greedy": "accuracy", "sampled": "sampled"}  # and what rows of held_out.jsonl call them
OTHER = {"greedy": "sampled", "sampled": "greedy"}
NAME = re.compile(r"[A-Za-z0-9_+-][A-Za-z0-9_.+-]*")  # of an arm, which is part of the names of folders
OWN = ("seed", "learning_rate", "output_dir")  # settings that the study sets itself


@dataclass(frozen=True)
class Run:
    """One training run of a study."""

    arm: str
    rate: float
    seed: int

    @property
    def name(self) -> str:
        return f"{self.arm}-{self.rate:g}-seed{self.seed}"


@dataclass(frozen=True)
class Plan:
    """What a study compares.

    Args:
        arms: For each arm the settings of `spancredit train` that make it what it is.
        seeds: Of the headline; arms are paired by them.
        rates: Learning rates. With several, each arm's is chosen on `tuning_seeds`.
        tuning_seeds: Of the runs that choose rates; none of them is in `seeds`.
        settings: Of every run, as in a YAML file of `spancredit train`.
        reference: The arm that the others are compared with: `uniform` if there is one, else the first.
        measure: Of held-out accuracy, by which rates are chosen and arms compared: `greedy` or `sampled`.

    Raises:
        ConfigError: if a part is missing, empty, given twice or at odds with another.
    """

    arms: dict[str, dict[str, Any]]
    seeds: tuple[int, ...]
    rates: tuple[float, ...]
    tuning_seeds: tuple[int, ...]
    settings: dict[str, Any]
    reference: str
    measure: str = "greedy"

    def __post_init__(self) -> None:
        for name in ("arms", "seeds", "rates"):
            if not getattr(self, name):
                raise ConfigError(f"the study has no {name}; expected at least one.")
        for rate in self.rates:
            if not (math.isfinite(rate) and rate > 0):
                raise ConfigError(f"a rate of the study is {rate}; expected finite numbers over 0.")
        for name in ("seeds", "rates", "tuning_seeds"):
            if len(set(getattr(self, name))) < len(getattr(self, name)):
                raise ConfigError(f"{name} of the study are {list(getattr(self, name))}; expected each once.")
        self._check_names()
        if self.reference not in self.arms:
            raise UnknownNameError("reference arm", self.reference, self.arms)
        if len(self.rates) > 1 and not self.tuning_seeds:
            raise ConfigError(f"the study has {len(self.rates)} rates and no tuning_seeds to choose by; expected some.")
        if set(self.seeds) & set(self.tuning_seeds):
            both = sorted(set(self.seeds) & set(self.tuning_seeds))
            raise ConfigError(f"seeds and tuning_seeds share {both}; expected rates to be chosen on other seeds.")
        if self.measure not in MEASURES:
            raise UnknownNameError("measure", self.measure, MEASURES)
        for arm, own in self.arms.items():
            if self.measure == "sampled" and {**self.settings, **own}.get("held_out_sampled") is not True:
                raise ConfigError(f"the study's measure is 'sampled'; expected held_out_sampled: true for arm {arm!r}.")
        for place, settings in {"settings": self.settings, **self.arms}.items():
            for name in OWN:
                if name in settings:
                    raise ConfigError(f"{place} of the study sets {name}, which the study sets for each run.")

    def _check_names(self) -> None:
        """Of arms and runs, which are those of folders."""
        for arm in self.arms:
            if not NAME.fullmatch(arm):
                raise ConfigError(
                    f"an arm of the study is called {arm!r}; expected letters, digits and _ . + -, no dot first: it is "
                    "part of the names of folders."
                )
        named: dict[str, Run] = {}
        for run in (Run(arm, rate, self.seeds[0]) for arm in self.arms for rate in self.rates):
            if named.setdefault(run.name, run) != run:
                rates = f"rates {named[run.name].rate!r} and {run.rate!r}"
                raise ConfigError(f"{rates} would share the run {run.name}; expected them to differ in six digits.")

    @property
    def tuning(self) -> list[Run]:
        """The runs by which rates are chosen; none where there is one rate."""
        if len(self.rates) == 1:
            return []
        return [Run(arm, rate, seed) for seed in self.tuning_seeds for rate in self.rates for arm in self.arms]

    def headline(self, rates: "Rates") -> list[Run]:
        """Every arm at its best rate and at the common one, seed by seed."""
        runs = [
            Run(arm, rate, seed) for seed in self.seeds for arm in self.arms for rate in (rates.best[arm], rates.common)
        ]
        return list(dict.fromkeys(runs))

    def choose(self, accuracies: dict[Run, float]) -> "Rates":
        """Rates by mean accuracy on the tuning seeds, all of which are done; the lower rate wins a tie."""
        if len(self.rates) == 1:
            return Rates(dict.fromkeys(self.arms, self.rates[0]), self.rates[0])

        def score(arms: Sequence[str], rate: float) -> float:
            return mean(accuracies[Run(arm, rate, seed)] for arm in arms for seed in self.tuning_seeds)

        def best(arms: Sequence[str]) -> float:
            return max(sorted(self.rates), key=lambda rate: score(arms, rate))

        return Rates({arm: best([arm]) for arm in self.arms}, best(list(self.arms)))

    def continues(self, before: "Plan") -> bool:
        """Whether all runs of the plan before are runs of this one: it may compare them otherwise, and add to them."""
        same = replace(self, reference=before.reference, measure=before.measure, arms=before.arms, seeds=before.seeds)
        return same == before and before.arms.items() <= self.arms.items() and set(before.seeds) <= set(self.seeds)

    def settings_of(self, run: Run) -> dict[str, Any]:
        """What `spancredit train` is given."""
        return {**self.settings, **self.arms[run.arm], "learning_rate": run.rate, "seed": run.seed}

    @property
    def text(self) -> str:
        """The plan as YAML, with everything written out."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
        return str(yaml.safe_dump(plain, sort_keys=False))


@dataclass(frozen=True)
class Rates:
    """Learning rates of the headline: each arm's best, and the one that is best for all arms together."""

    best: dict[str, float]
    common: float
