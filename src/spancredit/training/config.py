"""CreditGRPOConfig: TRL's GRPOConfig and CreditConfig's fields, prefixed `credit_`; and what it must refuse."""

from dataclasses import dataclass, field, fields, make_dataclass
from typing import Literal

from spancredit.config import CreditConfig
from spancredit.errors import TrainerError, UnknownNameError
from spancredit.training.sampling import DynamicSamplingConfig

# The trainer samples, so it knows the temperature.
CREDIT_FIELDS = [f for f in fields(CreditConfig) if f.name != "temperature"]
STEP_ADVANTAGES = ("none", "group", "resampled")
PREFIXED = [(f"credit_{f.name}", f.type, field(default=f.default, metadata=f.metadata)) for f in CREDIT_FIELDS]


@dataclass
class CreditGRPOConfig(make_dataclass("PrefixedCreditFields", PREFIXED, bases=(DynamicSamplingConfig,))):  # type: ignore[misc]
    """Arguments of `CreditGRPOTrainer`: every field of `trl.GRPOConfig`, those of `CreditConfig` as `credit_*`,
    dynamic sampling, and step advantages.

    Raises:
        TrainerError: if a setting cannot carry per-token advantages, or step advantages cannot be made.
        ConfigError: if a `credit_*` field is wrong.
    """

    step_advantages: Literal["none", "group", "resampled"] = field(
        default="none",
        metadata={
            "help": "Whether each step of a completion gets its own advantage, the change of the value from one "
            "calculation to the next. Values: of the completions of the prompt that made the same calculations so far "
            "(`group`), or of fresh continuations (`resampled`: VinePPO, and as slow). Credit weights come on top."
        },
    )
    step_resamples: int = field(
        default=8, metadata={"help": "Continuations of each state with step_advantages `resampled`."}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.step_advantages not in STEP_ADVANTAGES:
            raise UnknownNameError("step_advantages", self.step_advantages, STEP_ADVANTAGES)
        if self.step_resamples < 1:
            raise TrainerError(f"step_resamples is {self.step_resamples}; expected at least 1.")
        if self.step_advantages == "resampled":
            self._check_resampling()
        if self.per_token:
            for setting, (holds, why) in self._cannot_carry().items():
                if holds:
                    hint = "unset it, or set credit_mode='uniform' and step_advantages='none'"
                    raise TrainerError(f"{setting} cannot carry per-token advantages: {why}; {hint}.")

    def _check_resampling(self) -> None:
        if self.dynamic_sampling_rounds:
            raise TrainerError(
                "step_advantages='resampled' does not go with dynamic_sampling_rounds; expected 'group' with it."
            )
        if self.multi_objective_aggregation != "sum_then_normalize":
            raise TrainerError(
                f"multi_objective_aggregation is {self.multi_objective_aggregation!r}; step_advantages='resampled' "
                "expects 'sum_then_normalize', where an advantage follows from the sum of the rewards."
            )

    @property
    def per_token(self) -> bool:
        """Whether tokens of one completion may have different advantages."""
        return self.credit.mode != "uniform" or self.step_advantages != "none"

    @property
    def credit(self) -> CreditConfig:
        """The credit settings, with the temperature that the trainer samples at."""
        own = {f.name: getattr(self, f"credit_{f.name}") for f in CREDIT_FIELDS}
        return CreditConfig(**own, temperature=self.temperature)

    def _cannot_carry(self) -> dict[str, tuple[bool, str]]:
        return {
            "importance_sampling_level='sequence'": (
                self.importance_sampling_level == "sequence",
                "one ratio for a sequence spreads every token's gradient evenly, so weights of mean 1 cancel out",
            ),
            "loss_type='vespo'": (
                self.loss_type == "vespo",
                "its weight is one number for a sequence and reads the advantage's sign for the whole of it",
            ),
            "top_entropy_quantile": (
                self.top_entropy_quantile < 1,
                "weights have mean 1 over all tokens of a completion, and its loss is of some",
            ),
            "off_policy_mask_threshold": (
                self.off_policy_mask_threshold is not None,
                "its mask keeps or drops a sequence by one advantage",
            ),
            "use_liger_kernel": (
                self.use_liger_kernel,
                "it replaces the forward that credit is measured with (TRL deprecates it for use_kernels)",
            ),
        }
