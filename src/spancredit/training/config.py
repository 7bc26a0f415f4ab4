"""CreditGRPOConfig: TRL's GRPOConfig and CreditConfig's fields, prefixed `credit_`; and what it must refuse."""

from dataclasses import dataclass, field, fields, make_dataclass

from spancredit.config import CreditConfig
from spancredit.errors import TrainerError
from spancredit.training.sampling import DynamicSamplingConfig

# The trainer samples, so it knows the temperature.
CREDIT_FIELDS = [f for f in fields(CreditConfig) if f.name != "temperature"]
PREFIXED = [(f"credit_{f.name}", f.type, field(default=f.default, metadata=f.metadata)) for f in CREDIT_FIELDS]


@dataclass
class CreditGRPOConfig(make_dataclass("PrefixedCreditFields", PREFIXED, bases=(DynamicSamplingConfig,))):  # type: ignore[misc]
    """Arguments of `CreditGRPOTrainer`: every field of `trl.GRPOConfig`, and those of `CreditConfig` as `credit_*`.

    Raises:
        TrainerError: if a setting cannot carry per-token advantages.
        ConfigError: if a `credit_*` field is wrong.
    """

    step_advantages: bool = field(
        default=False,
        metadata={
            "help": "Whether each step of a completion gets its own advantage: the change of the mean advantage of the "
            "completions of the prompt that made the same calculations so far. Credit weights come on top."
        },
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.per_token:
            for setting, (holds, why) in self._cannot_carry().items():
                if holds:
                    hint = "unset it, or set credit_mode='uniform' and no step_advantages"
                    raise TrainerError(f"{setting} cannot carry per-token advantages: {why}; {hint}.")

    @property
    def per_token(self) -> bool:
        """Whether tokens of one completion may have different advantages."""
        return self.credit.mode != "uniform" or self.step_advantages

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
            "off_policy_mask_threshold": (
                self.off_policy_mask_threshold is not None,
                "its mask keeps or drops a sequence by one advantage",
            ),
            "use_liger_kernel": (
                self.use_liger_kernel,
                "it replaces the forward that credit is measured with (TRL deprecates it for use_kernels)",
            ),
        }
