"""The names that settings know: of modes, scorers, segmenters and interventions. A leaf, which all stages may read."""

from typing import Literal

Mode = Literal["counterfactual", "mediated", "blame", "inverted", "random", "uniform"]
ScorerName = Literal["packed", "batched", "sequential"]
ProxyName = Literal["surprisal", "entropy", "attention", "gradient"]
SignalName = Literal[ScorerName, ProxyName]
Segmenter = Literal["steps", "sentence", "line", "python", "window"]
Intervention = Literal["pad", "attention", "delete", "filler"]
