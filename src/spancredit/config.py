"""CreditConfig: what to measure and how to turn it into weights. Every default is the vetted setting."""

import math
import re
from dataclasses import dataclass, field, fields
from typing import Any, get_args

from spancredit.errors import ConfigError, UnknownNameError
from spancredit.names import Intervention, Mode, ProxyName, Segmenter, SignalName

COUNTS = ("max_spans", "max_span_tokens", "window_tokens", "max_tokens_per_forward")
BOUNDS = {
    **dict.fromkeys(("boost", "min_weight", "answer_weight", "noise_floor"), ("at least", 0)),
    **dict.fromkeys(COUNTS, ("at least", 1)),
    **dict.fromkeys(("temperature", "full_scale"), ("more than", 0)),
}
KINDS: dict[str, tuple[Any, str]] = {
    **dict.fromkeys(("influence", "conserve"), (bool, "True or False")),
    "filler": (str, "a text"),
    "answer_pattern": (str | None, "None or a text"),
    "seed": (int, "an integer"),
}


def _setting(default: Any, help: str) -> Any:
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class CreditConfig:
    """How credit is made.

    Raises:
        UnknownNameError: if a name is not one of the known ones.
        ConfigError: if a number is out of range or a pattern does not compile.
    """

    mode: Mode = _setting(
        "counterfactual",
        "How span scores become weights: `counterfactual` (the answer's drop: the paper), `mediated` (what a span made "
        "likely counts too), `blame` (drops, but surprisal where the advantage is negative), `inverted` and `random` "
        "(the paper's matched controls), or `uniform` (every weight 1, nothing measured).",
    )
    scorer: SignalName = _setting(
        "packed",
        "How drops are computed: `sequential` (one forward for each counterfactual: the definition), `batched` (many "
        "at once, padded) or `packed` (only the tokens that change), which all give the same numbers; or a proxy that "
        "needs no counterfactual: `surprisal`, `entropy`, `attention`, `gradient`.",
    )
    segmenter: Segmenter = _setting(
        "steps",
        "How the reasoning is cut: `steps` (calculations, and sentences around them), `sentence`, `line`, `python` "
        "(statements of code, and the headers of compound ones), or `window`.",
    )
    intervention: Intervention = _setting(
        "pad",
        "How a span is taken away: `pad` (its tokens become the pad token: the paper), `attention` (later tokens "
        "cannot see it), `delete` (the text closes up), or `filler` (its tokens become `filler`).",
    )
    horizon: int | None = _setting(
        None,
        "Propagate the intervention through this many tokens after the span, and to the answer; what stands between "
        "is read as it was. None: through all of them, which is exact; 0: the answer alone.",
    )
    budget: float | None = _setting(
        None,
        "Largest share of a training step that credit may take, such as 0.1: exact where that fits, else coarse to "
        "fine, a horizon, a sample of the rollouts; reported under `credit/method/`. None: exact, whatever it costs.",
    )
    influence: bool = _setting(
        False, "Also measure how far the log-probability of every later span falls: `Credit.influence`."
    )
    filler: str = _setting(" ...", "Text that fills a span under the `filler` intervention, repeated to its length.")
    boost: float = _setting(2.0, "Weight of a span of importance 1, before conservation.")
    min_weight: float = _setting(0.5, "Weight of a span of importance 0, before conservation.")
    answer_weight: float = _setting(1.5, "Weight of the answer's tokens; the same in every mode.")
    conserve: bool = _setting(
        True, "Scale the spans so that a completion has mean weight 1: credit moves, step size does not."
    )
    noise_floor: float = _setting(
        0.05, "Drops up to this many nats count as none. By tests, and where drops are given, there is no floor."
    )
    full_scale: float = _setting(
        1.0,
        "Nats above the floor for importance 1. Larger drops are scaled down together, smaller ones never up, "
        "so that a tiny drop cannot weigh like a large one.",
    )
    max_spans: int = _setting(32, "Most spans in a completion; beyond it the shortest neighbours are merged.")
    max_span_tokens: int = _setting(64, "Most tokens in a span; longer ones are split evenly.")
    window_tokens: int = _setting(16, "Tokens in a span of the `window` segmenter.")
    answer_pattern: str | None = _setting(
        None,
        "Own regular expression for the answer, instead of the known markers. The last match counts: its group "
        "`answer`, else its first group, else all of it.",
    )
    temperature: float = _setting(1.0, "Sampling temperature. The trainers set it to theirs.")
    max_tokens_per_forward: int = _setting(16384, "Most tokens, padding included, that one batched forward holds.")
    seed: int = _setting(0, "Seeds the permutations of the `random` mode.")

    def __post_init__(self) -> None:
        for name in ("mode", "scorer", "segmenter", "intervention"):
            known = get_args(next(f.type for f in fields(self) if f.name == name))
            if getattr(self, name) not in known:
                raise UnknownNameError(name, getattr(self, name), known)
        for name, (relation, bound) in BOUNDS.items():
            value = getattr(self, name)
            whole = name in COUNTS
            number = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
            number = number and math.isfinite(value)
            if not number or value < bound or (relation == "more than" and value == bound):
                raise ConfigError(f"{name} is {value!r}; expected {'an integer, ' if whole else ''}{relation} {bound}.")
        if self.horizon is not None and (not isinstance(self.horizon, int) or self.horizon < 0):
            raise ConfigError(f"horizon is {self.horizon!r}; expected None or an integer, at least 0.")
        if self.budget is not None and not (isinstance(self.budget, (int, float)) and 0 < self.budget < 1):
            raise ConfigError(f"budget is {self.budget!r}; expected None or a share above 0 and below 1.")
        for clash, holds in self._clashes().items():
            if holds:
                raise ConfigError(f"{clash}.")
        for name, (kind, expected) in KINDS.items():
            if not isinstance(getattr(self, name), kind):
                raise ConfigError(f"{name} is {getattr(self, name)!r}; expected {expected}.")
        if not self.boost >= self.min_weight:
            raise ConfigError(f"boost is {self.boost}; expected at least min_weight, which is {self.min_weight}.")
        if self.answer_pattern is not None:
            try:
                re.compile(self.answer_pattern)
            except re.error as error:
                raise ConfigError(f"answer_pattern {self.answer_pattern!r} does not compile: {error}.") from error

    @property
    def needs_influence(self) -> bool:
        """Whether the influence of spans on later spans is measured."""
        return self.influence or self.mode == "mediated"

    def _clashes(self) -> dict[str, bool]:
        """Settings that exclude each other, and whether both are set."""
        horizon, budget, proxy = self.horizon, self.budget, self.scorer in get_args(ProxyName)
        return {
            f"horizon {horizon} does not go with intervention 'delete': the text beyond it would have to move": (
                horizon is not None and self.intervention == "delete"
            ),
            f"horizon {horizon} needs scorer 'packed' or 'sequential'; got {self.scorer!r}": (
                horizon is not None and self.scorer not in ("packed", "sequential")
            ),
            f"horizon {horizon} does not go with budget {budget}, which chooses one": (
                horizon is not None and budget is not None
            ),
            f"budget {budget} needs scorer 'packed'; got {self.scorer!r}": (
                budget is not None and self.scorer != "packed"
            ),
            f"mode 'blame' takes drops and surprisal; expected a scorer of drops, got {self.scorer!r}": (
                self.mode == "blame" and proxy
            ),
            "influence, and mode 'mediated', need every later span recomputed; expected no horizon, no budget and no "
            "proxy": self.needs_influence and (horizon is not None or budget is not None or proxy),
        }
