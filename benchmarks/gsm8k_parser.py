"""Does a check of answers score every gold answer of GSM8K as right, and a wrong one never?

    python benchmarks/gsm8k_parser.py ../shared/data/gsm8k [--out FILE]

Each of the 8,792 gold solutions is judged as it is, written in other ways that mean the same, and mutated so that it
is wrong. The strict check is compared with math-verify where that is installed.
"""

import argparse
import json
import random
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from spancredit.tasks import gsm8k, numbers
from spancredit.tasks.gsm8k import Problem

Rewrite = Callable[[str, random.Random], str]  # from a gold answer without separators to what stands after ####
Check = Callable[[Sequence[str], Sequence[str]], list[float]]


def other_digit(gold: str, draw: random.Random) -> str:
    place = draw.choice([i for i, character in enumerate(gold) if character.isdigit()])
    digit = draw.choice([d for d in "0123456789" if d != gold[place]])
    return gold[:place] + digit + gold[place + 1 :]


def grouped(gold: str, _: random.Random) -> str:
    return f"{int(gold):,}"


def misplaced_separator(gold: str, draw: random.Random) -> str:
    """A comma where none may stand: never three digits before the end."""
    sign, digits = ("-", gold[1:]) if gold.startswith("-") else ("", gold)
    digits = digits.rjust(2, "1")
    place = draw.choice([i for i in range(1, len(digits)) if len(digits) - i != 3] or [len(digits)])
    return f"{sign}{digits[:place]},{digits[place:]}"


def shifted_decimal(gold: str, _: random.Random) -> str:
    return f"{gold[:-1] or '0'}.{gold[-1]}" if gold.lstrip("-") != "0" else "0.1"


CHANGING = ("quarters", "grand", "bil", "pi", "fold", "double", "negative", "sqrt", "factorial", "squared", "less")
SAME: dict[str, Rewrite] = {
    "as it is": lambda gold, _: gold,
    "thousands in groups": grouped,
    "two decimals": lambda gold, _: f"{gold}.00",
    "dollars before": lambda gold, _: f"${gold}",
    "dollars before, in LaTeX": lambda gold, _: f"\\${gold}.00",
    "a unit after": lambda gold, _: f"{gold} dollars per week.",
    "bold": lambda gold, _: f"**{gold}**",
    "boxed": lambda gold, _: f"\\boxed{{{gold}}}",
    "boxed, with a unit": lambda gold, _: f"$\\boxed{{{gold}\\text{{ eggs}}}}$",
    "boxed, degrees": lambda gold, _: f"\\boxed{{{gold}^\\circ}}",
    "a bold line": lambda gold, _: gold,
    "closing hashes": lambda gold, _: f"{gold} ####",
    "maths, and a unit": lambda gold, _: f"${gold}$ dollars",
    "cents": lambda gold, _: f"{gold}¢",
    "T-shirts": lambda gold, _: f"{gold} T-shirts",
    "p.m.": lambda gold, _: f"{gold} p.m.",
    "a unit in brackets": lambda gold, _: f"{gold} dollars (USD)",
}
WRONG: dict[str, Rewrite] = {
    "a digit changed": other_digit,
    "sign flipped": lambda gold, _: gold[1:] if gold.startswith("-") else f"-{gold}",
    "ten times as much": lambda gold, _: f"{gold}0",
    "a tenth, decimals shifted": shifted_decimal,
    "decimals added": lambda gold, draw: f"{gold}.{draw.randint(1, 99):02d}",
    "a separator misplaced": misplaced_separator,
    "a number appended": lambda gold, draw: f"{gold} {draw.randint(0, 999)}",
    "a list": lambda gold, draw: f"{gold}, {draw.randint(0, 999)}",
    "a scale appended": lambda gold, draw: f"{gold}{draw.choice(['k', ' thousand', ' million', ' dozen', 'th'])}",
    "a word that changes the value": lambda gold, draw: f"{gold} {draw.choice(CHANGING)}",
    "a sum left undone": lambda gold, draw: f"{int(gold) - (part := draw.randint(1, 9))}+{part}",
    "a division left undone": lambda gold, _: f"{2 * int(gold)}/2",
    "two boxes that differ": lambda gold, draw: f"\\boxed{{{other_digit(gold, draw)}}} or \\boxed{{{gold}}}",
    "a box and a line that differ": lambda gold, draw: f"{gold}\nso \\boxed{{{other_digit(gold, draw)}}}",
    "a power tower": lambda gold, _: f"{gold}^{{9^{{9}}}}",
    "no number": lambda gold, _: "none",
}
LINE = {"a bold line": "**#### {}**"}
FIRST = {"a power tower": 10}  # problems: math-verify takes seconds for each


def is_wrong(name: str, gold: str) -> bool:
    """Whether a mutation made a difference: zero has no other sign and no tenfold."""
    unchanged = {
        "sign flipped": ("0",),
        "ten times as much": ("0",),
        "a scale appended": ("0",),
        "a word that changes the value": ("0", "1"),
        "a power tower": ("0", "1"),
    }
    return gold not in unchanged.get(name, ())


def judge(check: Check, problems: Sequence[Problem], name: str, rewrite: Rewrite, seed: int) -> dict[str, Any]:
    """How many completions were scored right, and the first few that were."""
    draw = random.Random(f"{seed}/{name}")
    golds = [problem.answer.replace(",", "") for problem in problems]
    written = [rewrite(gold, draw) for gold in golds]
    kept = [i for i, gold in enumerate(golds) if name in SAME or is_wrong(name, gold)][: FIRST.get(name)]
    completions = [
        problems[i].solution.rpartition("####")[0] + LINE.get(name, "#### {}").format(written[i]) for i in kept
    ]
    started = time.perf_counter()
    rewards = check(completions, [golds[i] for i in kept])
    return {
        "count": len(kept),
        "right": int(sum(rewards)),
        "milliseconds_each": round(1000 * (time.perf_counter() - started) / len(kept), 3),
        "surprises": [written[i] for i, reward in zip(kept, rewards, strict=True) if reward != (name in SAME)][:3],
    }


def table(found: dict[str, dict[str, Any]]) -> str:
    checks = list(next(iter(found.values())))
    lines = ["| after the last #### | count |" + "".join(f" right by {one} |" for one in checks)]
    lines.append("|---|---:|" + "---:|" * len(checks))
    for name, row in found.items():
        kind = name if name in SAME else f"wrong: {name}"
        lines.append(f"| {kind} | {row[checks[0]]['count']} |" + "".join(f" {row[one]['right']} |" for one in checks))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="the folder with train.jsonl and test.jsonl")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/gsm8k-parser.json"))
    given = parser.parse_args()
    problems = [*gsm8k.load("train", given.data), *gsm8k.load("held_out", given.data)]
    checks: dict[str, Check] = {"strict": numbers.reward}
    if find_spec("math_verify"):
        from spancredit.tasks import math_verify

        checks["math-verify"] = math_verify.reward
    found = {
        name: {one: judge(check, problems, name, rewrite, given.seed) for one, check in checks.items()}
        for name, rewrite in {**SAME, **WRONG}.items()
    }
    given.out.write_text(json.dumps({"run": {"seed": given.seed, "problems": len(problems)}, **found}, indent=1) + "\n")
    print(table(found))


if __name__ == "__main__":
    main()
