"""What is logged beside TRL's own metrics: every name, its unit, and what it says. The documentation is made of it."""

from dataclasses import dataclass

from spancredit.tasks.code.judge import STATUSES
from spancredit.types import REASONS

NAMED = {"REASON": tuple(REASONS), "STATUS": STATUSES}  # what may stand in the last place of a name


@dataclass(frozen=True)
class Metric:
    """A metric, or a family of them.

    Args:
        name: As it is logged. A last part in capitals is a place, and not the name itself.
        unit: Of the value.
        what: It says.
    """

    name: str
    unit: str
    what: str


METRICS = (
    Metric("credit/scored", "share", "rollouts that got weights of their own"),
    Metric("credit/unscored/REASON", "share", "rollouts left at weight 1, by reason"),
    Metric(
        "credit/drop/KIND",
        "nats, or a share",
        "mean fall of the answer's log-probability, or of the tests that pass, without a span of this kind",
    ),
    Metric(
        "credit/blame/KIND",
        "nats a token",
        "mean surprisal of spans of this kind in completions that went wrong, under mode `blame`",
    ),
    Metric(
        "credit/weight_share/KIND",
        "share",
        "of the weight of scored rollouts; also for `answer` and `rest` (marker, end of sequence)",
    ),
    Metric("held_out/accuracy", "share", "right of the held-out problems, greedy; in trackers and in `held_out.jsonl`"),
    Metric("held_out/sampled", "share", "the same, each problem sampled once, if `held_out_sampled` is set"),
    Metric("credit/tokens_forwarded", "tokens", "that scoring sent through the model, padding included"),
    Metric("credit/forwards", "count", "forward calls of scoring"),
    Metric("credit/fallbacks", "count", "sequences that `packed` could not take and `batched` did"),
    Metric(
        "credit/halved",
        "count",
        "times that scoring ran out of memory and went on with half the tokens",
    ),
    Metric("credit/runs", "count", "programs that were run, where credit is measured by execution"),
    Metric(
        "credit/method/METHOD",
        "count",
        "rollouts measured by it: `exact`, `coarse`, `horizon_N`, `blame`, `execution`, `exchange`, `given`, a proxy",
    ),
    Metric(
        "credit/agreement", "Spearman", "drops under a budget against exact ones, of the rollouts that were checked"
    ),
    Metric("credit/seconds", "seconds", "scoring, in an optimizer step"),
    Metric("credit/time_share", "share", "of the optimizer step's time (generation, scoring, loss, backward)"),
    Metric("generation/seconds", "seconds", "generation, in an optimizer step"),
    Metric("generation/time_share", "share", "of the optimizer step's time"),
    Metric("step_advantages/seconds", "seconds", "step advantages, resampling included, in an optimizer step"),
    Metric("step_advantages/time_share", "share", "of the optimizer step's time"),
    Metric(
        "step_advantages/shared",
        "share",
        "states after a calculation that another completion of the group passes through, too",
    ),
    Metric("dynamic_sampling/rounds", "count", "rounds of fresh prompts in a batch"),
    Metric("dynamic_sampling/groups_drawn", "count", "all of them; without dynamic sampling, the batch"),
    Metric("dynamic_sampling/groups_without_signal", "count", "of those drawn"),
    Metric("dynamic_sampling/groups_beyond_the_batch", "count", "with a signal, but one too many"),
    Metric("dynamic_sampling/groups_filled_up", "count", "without a signal, in the batch when the rounds were spent"),
    Metric("dynamic_sampling/share_with_advantage", "share", "of the rollouts that are trained on"),
    Metric(
        "frac_reward_none",
        "share",
        "completions that no reward function rated (NaN or None from all): they train nothing",
    ),
    Metric("code/STATUS", "share", "completions of a reward call by how they fared"),
    Metric(
        "math_verify/unjudged",
        "count",
        "completions of a reward call that math-verify did not judge in time: they score 0",
    ),
)
