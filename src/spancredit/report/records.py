"""Records: rollouts with their credit as plain data, the one tree that every view is made from."""

from dataclasses import asdict
from typing import Any

from transformers import PreTrainedTokenizerBase

from spancredit.counterfactual.measure import BLAME, PROXIES
from spancredit.crediting import EXECUTION, GIVEN
from spancredit.report.lines import SCHEMA
from spancredit.report.means import TESTS
from spancredit.text.align import align
from spancredit.types import Credit, Probe, Rollout


def make_record(
    rollout: Rollout,
    credit: Credit,
    tokenizer: PreTrainedTokenizerBase,
    step: int,
    reward: float | None = None,
    right: bool | None = None,
) -> dict[str, Any]:
    """One rollout with its credit as plain data.

    `tokens` are pieces of text that join to the completion, one for each weight in `token_weights`; a character that
    several tokens share stands at the last of them. Drops and log-probabilities are in nats.

    Args:
        reward: The weighted sum of all reward functions.
        right: What the judge says of the answer; None if it was not asked.
    """
    aligned = align(tokenizer, rollout.completion_ids) if len(rollout.completion_ids) else None
    ends = [*aligned.starts[1:], len(aligned.text)] if aligned else []
    return {
        "schema": SCHEMA,
        "step": step,
        "prompt": tokenizer.decode(list(rollout.prompt_ids), skip_special_tokens=False),
        "tokens": [aligned.text[a:b] for a, b in zip(aligned.starts, ends, strict=True)] if aligned else [],
        "token_weights": [round(weight, 6) for weight in credit.token_weights.tolist()],
        "reward": reward,
        "right": right,
        "advantage": rollout.advantage,
        "reason": credit.reason,
        "method": credit.method,
        "answer": asdict(credit.answer) if credit.answer else None,
        "answer_logp": credit.answer_logp,
        "spans": [asdict(span) for span in credit.spans],
        "cost": asdict(credit.cost),
        "probe": None if rollout.probe is None else _words(rollout.probe, tokenizer),
    }


def _words(probe: Probe, tokenizer: PreTrainedTokenizerBase) -> dict[str, str]:
    return {"suffix": tokenizer.decode(list(probe.suffix_ids)), "value": tokenizer.decode(list(probe.value_ids))}


def right_of(record: dict[str, Any]) -> bool | None:
    """Whether the answer is right; None if nobody judged it.

    Records of before 0.1.0 have no verdict: there it is whether the reward is above 0.
    """
    if "right" in record or record["reward"] is None:
        return record.get("right")
    return bool(record["reward"] > 0)


def measure_of(record: dict[str, Any]) -> str:
    """What its spans' drops are: nats, a share of tests, or a proxy's score."""
    method = record.get("method")
    if method in EXECUTION:
        return f"drop {TESTS}"
    if method == GIVEN:
        return "drop"
    return "surprisal" if method == BLAME else str(method) if method in PROXIES else "drop (nats)"
