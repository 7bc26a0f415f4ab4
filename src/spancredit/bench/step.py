"""`spancredit bench step`: what share of a training step credit takes, measured, and as counted from tokens.

The prediction, in multiply-adds (`bench/price.py`), with P for one policy forward over the step's rollouts:

    credit                tokens that scoring forwarded, each at the mean price of those at the floor, and logits
    generation            P: each token is forwarded once, and each completion token has logits
    loss and backward     3 P: a forward, and a backward of twice its cost
    predicted share       credit / (credit + P + 3 P)
    predicted seconds     multiply-adds * (measured seconds of credit / multiply-adds of credit)

Generation takes longer than predicted where it is bound by reading the weights, once for every token of a completion.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import mean, median
from typing import Any

from transformers import PrinterCallback

from spancredit.bench.floor import Item, credit_need, policy_need
from spancredit.bench.jobs import Job
from spancredit.bench.machine import machine
from spancredit.bench.models import Source, prices_of
from spancredit.bench.price import Need, Prices, price
from spancredit.counterfactual.budget import rank_correlation
from spancredit.credit import assign_credit
from spancredit.errors import ConfigError
from spancredit.training.trl import CreditBatch, CreditGRPOConfig, CreditGRPOTrainer

BACKWARD = 2  # forwards that a backward costs
WARM_UP = 1  # steps before those that are reported
CHECKED, LEAST_SPANS = 16, 3  # rollouts whose drops under a budget are held to exact ones, and their spans


@dataclass(frozen=True)
class StepWork:
    """Multiply-adds of a step: a policy forward over its rollouts, credit as it was scored, and the least that credit
    of the same spans needs, if a budget does not let it measure less; and the share of rollouts that were measured."""

    policy: int
    credit: int
    floor: int
    measured: float

    @property
    def training(self) -> int:
        """Loss and backward."""
        return (1 + BACKWARD) * self.policy


def bench_step(
    source: Source,
    make_job: Callable[[int], Job],
    steps: int,
    batch: int,
    generations: int,
    credit: dict[str, Any],
    note: Callable[[str], Any] = lambda _: None,
) -> dict[str, Any]:
    """Shares of an optimizer step's time; medians over the steps after the first, which warms up.

    Args:
        make_job: Gives the job for a number of prompts.
        batch: Completions of a step.
        generations: Completions of a prompt.
        credit: Fields of `CreditConfig`.
    """
    if steps < 1:
        raise ConfigError(f"--steps is {steps}; expected at least 1.")
    if generations < 2 or batch % generations:
        raise ConfigError(f"--batch is {batch}; expected a multiple of --generations, {generations}, at least 2.")
    note("loading the model")
    job = make_job((steps + WARM_UP) * batch // generations)
    batches: list[CreditBatch] = []
    with tempfile.TemporaryDirectory() as folder:
        arguments = _arguments(source, folder, steps + WARM_UP, batch, generations)
        prefixed = {f"credit_{name}": value for name, value in credit.items()}
        trainer = CreditGRPOTrainer(
            job.model,
            job.reward,
            CreditGRPOConfig(**{**arguments, **job.settings, **prefixed}),
            train_dataset=job.dataset,
            processing_class=job.tokenizer,
            on_credit=batches.append,
        )
        trainer.remove_callback(PrinterCallback)
        note(f"{steps + WARM_UP} optimizer steps")
        trainer.train()
    prices = prices_of(job.model)
    logs = [row for row in trainer.state.log_history if "step_time" in row]
    pad, horizon = int(job.tokenizer.pad_token_id), credit.get("horizon")
    work = [step_work(one, prices, pad, horizon) for one in batches]
    rows = [_row(log, one) for log, one in zip(logs, work, strict=True)][WARM_UP:]
    return {
        "kind": "step",
        "source": source.facts(),
        "steps": steps,
        "batch": batch,
        "generations": generations,
        "completion": _length(batches),
        "credit": credit,
        "machine": machine(source.device),
        "formula": "predicted share = credit / (credit + P + 3 P), P one policy forward over the step's rollouts",
        "agreement": agreement(trainer, batches[-1]) if "budget" in credit else None,
        "rows": rows,
        "median": {name: median(row[name] for row in rows) for name in rows[0]},
    }


def step_work(batch: CreditBatch, prices: Prices, pad: int, horizon: int | None = None) -> StepWork:
    """What a step's policy forward and credit come to, spans being padded out."""
    scored: list[Item] = []
    rows = 0
    everything = [Item(tuple(r.prompt_ids), tuple(r.completion_ids), (), (0, 1)) for r in batch.rollouts]
    for item, one in zip(everything, batch.credits, strict=True):
        if one.spans and one.answer is not None:
            spans = tuple((span.start, span.end) for span in one.spans)
            scored.append(Item(item.prompt_ids, item.completion_ids, spans, (one.answer.start, one.answer.end)))
            rows += (1 + len(spans)) * one.answer.size
    least = credit_need(scored, "pad", [pad], horizon)
    forwarded = sum(one.cost.tokens for one in batch.credits)
    trunk = price(Need(least.pieces), prices) * forwarded / max(1, least.tokens)
    return StepWork(
        policy=price(policy_need(everything), prices),
        credit=round(trunk) + price(Need(logits=rows), prices),
        floor=price(least, prices),
        measured=len(scored) / len(everything),
    )


def agreement(trainer: CreditGRPOTrainer, batch: CreditBatch) -> float | None:
    """Mean rank correlation (Spearman's) of what a budget measured with exact drops, over rollouts of a batch.

    The policy is that of one optimizer step later.
    """
    pairs = zip(batch.rollouts, batch.credits, strict=True)
    scored = [(rollout, one) for rollout, one in pairs if len(one.spans) >= LEAST_SPANS][:CHECKED]
    config = replace(trainer.args.credit, budget=None)
    exact = assign_credit(trainer.model, trainer.processing_class, [rollout for rollout, _ in scored], config)
    found = [
        rank_correlation([span.drop for span in one.spans], [span.drop for span in other.spans])
        for (_, one), other in zip(scored, exact, strict=True)
    ]
    known = [value for value in found if value is not None]
    return mean(known) if known else None


def _arguments(source: Source, folder: str, steps: int, batch: int, generations: int) -> dict[str, Any]:
    """Settings of the trainer: one generation batch a step, every step logged, nothing kept."""
    return {
        "output_dir": folder,
        "max_steps": steps,
        "per_device_train_batch_size": batch,
        "num_generations": generations,
        "gradient_checkpointing": False,
        "use_cpu": source.device == "cpu",
        "bf16": source.dtype == "bfloat16",
        "learning_rate": 1e-6,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "seed": source.seed,
    }


def _length(batches: list[CreditBatch]) -> float:
    """Median tokens of a completion."""
    return median(len(rollout.completion_ids) for batch in batches for rollout in batch.rollouts)


def _row(log: dict[str, float], work: StepWork) -> dict[str, float]:
    step, credit, generation = log["step_time"], log["credit/seconds"], log["generation/seconds"]
    pace = credit / work.credit if work.credit else 0.0  # seconds for a multiply-add
    whole = work.policy + work.training
    return {
        "step_seconds": step,
        "generation_seconds": generation,
        "credit_seconds": credit,
        "training_seconds": step - generation - credit,
        "credit_share": log["credit/time_share"],
        "generation_share": generation / step,
        "training_share": 1 - (generation + credit) / step,
        "predicted_share": work.credit / (work.credit + whole),
        "floor_share": work.floor / (work.floor + whole),
        "predicted_generation_seconds": pace * work.policy,
        "predicted_training_seconds": pace * work.training,
        "measured": work.measured,
    }
