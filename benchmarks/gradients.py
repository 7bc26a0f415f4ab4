"""Which way do credit rules turn the gradient, and where is its mass? To be run before seeds are spent on a rule.

    python benchmarks/gradients.py [--difficulty easy] [--batches N] [--resamples K] [--variants] [--out FILE]

Batches of completions of the policy, as DAPO's first step would see them. For every rule (what multiplies the advantage
of each token) the cosine of a batch's gradient with the mean uniform gradient of all the other batches: how much of a
step goes where DAPO goes on average, noise and bias of the rule taken together; and the same after every coordinate is
divided by its root mean square, as Adam does. For every role of a token its share of that progress and of the variance;
for every span the norm of its own gradient.
"""

import argparse
import json
import time
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from gradients_alignment import MEASURES, alignment
from gradients_batch import GROUP, GROUPS, MODES, ROLES, advantages_by_rule, draw_batch, measured, token_roles
from gradients_tables import by_kind, lorenz, picture, progress
from gradients_variants import VARIANTS, derived
from gradients_vectors import Tokens, gradients, span_norms

from spancredit.models import load_policy
from spancredit.report.figures import save
from spancredit.tasks.wordproblems import problems

# Tokens of prompt and completion.
LONGEST = {"easy": 160, "medium": 220, "hard": 330, "long": 420, "noisy": 330, "chatty": 210}


def measure(given: argparse.Namespace) -> dict[str, Any]:
    model, tokenizer = load_policy(given.model)
    model.eval()
    generator, apart = (torch.Generator().manual_seed(given.seed + i) for i in range(2))
    longest, stream = LONGEST[given.difficulty], problems("train", given.seed, given.difficulty)
    found, roles, norms = [], [], []
    for nth in range(given.batches):
        batch = draw_batch(model, tokenizer, list(islice(stream, GROUPS)), longest, generator)
        credits = measured(model, tokenizer, batch, VARIANTS if given.variants else MODES)
        rules = advantages_by_rule(model, tokenizer, batch, credits, given.resamples, longest, apart)
        if given.variants:
            rules |= derived(tokenizer, batch)
        own = token_roles(tokenizer, batch)
        found.append(gradients(model, batch.rollouts, {**rules, **only(own, rules["uniform"])}))
        norms += span_norms(model, batch.rollouts, credits, given.span_rollouts)
        roles += [role for row in own for role in row]
        print(f"batch {nth + 1} of {given.batches}: {batch.rewards.mean():.0%} right", flush=True)
    return {
        "rules": alignment([{name: one[name] for name in rules} for one in found]),
        "roles": progress(found, {role: roles.count(role) for role in ROLES if role in roles}),
        "kinds": by_kind(norms),
        "lorenz": lorenz(norms),
        "spans": len(norms),
    }


def only(roles: list[list[str]], values: Tokens) -> dict[str, Tokens]:
    """For each role the values of its tokens, and 0 elsewhere."""
    return {
        role: [
            value_T * torch.tensor([float(name == role) for name in names])
            for names, value_T in zip(roles, values, strict=True)
        ]
        for role in ROLES
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--difficulty", choices=LONGEST, default="easy")
    parser.add_argument("--batches", type=int, default=24, help=f"of {GROUPS} prompts, {GROUP} completions each")
    parser.add_argument("--resamples", type=int, default=8, help="continuations for a value; 0: no Monte Carlo rule")
    parser.add_argument("--variants", action="store_true", help="of the paper's rule, in the place of a study's arms")
    parser.add_argument("--span_rollouts", type=int, default=8, help="of a batch, whose spans' norms are measured")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="default: benchmarks/gradients-DIFFICULTY.json")
    given = parser.parse_args()
    if given.batches < 4 or given.span_rollouts < 1:
        parser.error(f"--batches {given.batches} --span_rollouts {given.span_rollouts}: expected at least 4 and 1")
    torch.set_num_threads(1)
    started = time.process_time()
    report = measure(given)
    out = given.out or Path(f"benchmarks/gradients-{given.difficulty}.json")
    facts = {**vars(given), "out": str(out), "seconds": round(time.process_time() - started)}
    out.write_text(json.dumps({"run": facts, **report}, indent=1) + "\n")
    save(picture(report), out.with_suffix(".svg"))
    show(report)


def show(report: dict[str, Any]) -> None:
    """As Markdown."""
    head = ("rule", "cosine", "to uniform (95 %)", "as Adam takes it", "to uniform (95 %)", "norm", "on calculations")
    print(f"\n| {' | '.join(head)} |")
    print("|---" * len(head) + "|")
    for name, row in report["rules"].items():
        cells = []
        for measure in MEASURES:
            against = row[measure]["against_uniform"]
            cells += [
                f"{row[measure]['value']:.3f}",
                "{:+.3f} ({:+.3f} to {:+.3f})".format(*against) if against else "",
            ]
        mass = report["kinds"].get(name, {}).get("calculation")
        print(f"| {name} | {' | '.join(cells)} | {row['norm']:.3f} | {'' if mass is None else f'{mass:.0%}'} |")
    print("\n| role of the token | tokens | progress | noise |\n|---|---|---|---|")
    for role, row in report["roles"].items():
        print(f"| {role} | {row['tokens']:.0%} | {row['progress']:.0%} | {row['noise']:.0%} |")


if __name__ == "__main__":
    main()
