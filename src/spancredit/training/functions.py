"""Functions that a trainer is given where the outcome is not an answer in the completion: how they are called, checked.

A `probe_func` says what to ask after a completion; a `credit_func` measures the outcome itself.
"""

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any

from spancredit.config import CreditConfig
from spancredit.crediting import NEED_POLICY
from spancredit.errors import TrainerError
from spancredit.training.failures import SHORT, named
from spancredit.types import REASONS, Credit, Probe, Rollout

Row = dict[str, Any]  # of the dataset
ProbeFunc = Callable[[Sequence[Rollout], Sequence[Row]], Sequence[Probe | None]]
CreditFunc = Callable[[Sequence[Rollout], Sequence[Row], CreditConfig], Sequence[Credit]]
OF_FORWARDS = (
    *("scorer", "intervention", "filler", "horizon", "budget", "influence", "max_tokens_per_forward"),
    *("noise_floor", "full_scale", "answer_pattern", "answer_weight"),
)


def check_functions(config: CreditConfig, probe_func: ProbeFunc | None, credit_func: CreditFunc | None) -> None:
    """Refuse settings that would not be read.

    Raises:
        TrainerError: if there are both functions, or a `credit_func` with a setting that is about forwards.
    """
    if credit_func is None:
        return
    if probe_func is not None:
        raise TrainerError("there are a probe_func and a credit_func; expected one: the latter measures by itself.")
    check_credit_func(config)


def check_credit_func(config: CreditConfig, prefix: str = "credit_") -> None:
    """Refuse settings that a `credit_func` does not read, such as drops by execution, which makes no forward.

    Args:
        prefix: Of the settings' names, where the user has them.

    Raises:
        TrainerError: if one is set.
    """
    if config.mode in NEED_POLICY:
        raise TrainerError(
            f"{prefix}mode is {config.mode!r}, which needs {NEED_POLICY[config.mode]}; a credit_func, such as drops by "
            "execution, expects 'counterfactual', 'inverted' or 'random'."
        )
    defaults = {f.name: f.default for f in fields(CreditConfig)}
    for name in OF_FORWARDS:
        if getattr(config, name) != defaults[name]:
            raise TrainerError(
                f"{prefix}{name} is {getattr(config, name)!r}, and credit is measured by a credit_func, such as drops "
                "by execution, which makes no forward; expected it unset."
            )


def credits_by(
    func: CreditFunc, rollouts: Sequence[Rollout], rows: Sequence[Row], config: CreditConfig
) -> list[Credit]:
    """What a `credit_func` returns.

    Raises:
        TrainerError: if that is not one `Credit` a rollout, with one weight a token and a known reason or none.
    """
    with named("credit_func raised {}; expected a result for each rollout.".format):
        credits = list(func(rollouts, rows, config))
    if len(credits) != len(rollouts):
        raise TrainerError(
            f"credit_func returned {len(credits)} credits for {len(rollouts)} rollouts; expected one each."
        )
    for i, (rollout, credit) in enumerate(zip(rollouts, credits, strict=True)):
        if not isinstance(credit, Credit) or credit.token_weights.shape != (len(rollout.completion_ids),):
            got = f"{len(credit.token_weights)} weights" if isinstance(credit, Credit) else f"a {type(credit).__name__}"
            raise TrainerError(
                f"credit_func returned {got} for rollout {i} of {len(rollout.completion_ids)} tokens; expected a "
                "Credit with one weight a token."
            )
        if not credit.token_weights.isfinite().all():
            raise TrainerError(
                f"credit_func returned weights for rollout {i} that are no numbers; expected finite ones."
            )
        if credit.reason is not None and credit.reason not in REASONS:
            raise TrainerError(
                f"credit_func returned the reason {SHORT.repr(credit.reason)} for rollout {i}; expected None, or a key "
                "of spancredit.REASONS, by which rollouts are counted."
            )
    return credits


def credited(
    rollouts: list[Rollout],
    rows: Sequence[Row],
    config: CreditConfig,
    assign: Callable[[list[Rollout]], list[Credit]],
    probe_func: ProbeFunc | None = None,
    credit_func: CreditFunc | None = None,
) -> tuple[list[Rollout], list[Credit]]:
    """The rollouts, with probes if there is a function for them, and their credit. In mode `uniform` neither is called.

    Args:
        rows: Of the dataset, those that the rollouts answer.
        assign: Gives credit where there is no `credit_func`.

    Raises:
        TrainerError: if a function fails, or returns what it should not.
    """
    if config.mode == "uniform":
        return rollouts, assign(rollouts)
    if credit_func is not None:
        return rollouts, credits_by(credit_func, rollouts, rows, config)
    if probe_func is not None:
        rollouts = probed_by(probe_func, rollouts, rows)
    return rollouts, assign(rollouts)


def probed_by(func: ProbeFunc, rollouts: Sequence[Rollout], rows: Sequence[Row]) -> list[Rollout]:
    """The rollouts, each with what a `probe_func` returns for it.

    Raises:
        TrainerError: if that is not one `Probe` or None a rollout.
    """
    with named("probe_func raised {}; expected a result for each rollout.".format):
        probes = list(func(rollouts, rows))
    if len(probes) != len(rollouts):
        raise TrainerError(f"probe_func returned {len(probes)} probes for {len(rollouts)} rollouts; expected one each.")
    for i, probe in enumerate(probes):
        if not (probe is None or isinstance(probe, Probe)):
            raise TrainerError(
                f"probe_func returned a {type(probe).__name__} for rollout {i}; expected a Probe or None."
            )
    return [replace(rollout, probe=probe) for rollout, probe in zip(rollouts, probes, strict=True)]
