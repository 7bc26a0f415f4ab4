"""Make a code policy that knows better: the bundled one, taught more functions, in whose statements there are slips.

    python tools/careless_code_policy.py OUTPUT          # 15 minutes on one core

It samples a slip (a number a little off, a comparison or an operator turned round) at a known rate, so what a policy
gradient has to change stands in single statements. It goes on learning what calls of right functions return, so that a
probe has something to ask.
"""

import itertools
import random
import re
from pathlib import Path
from typing import Annotated

import teaching
import typer
from train_code_policy import rows

from spancredit.models import BUNDLED_CODE, load_policy
from spancredit.tasks.code import functions
from spancredit.tasks.code.outcome import LONGEST_VALUE
from spancredit.tasks.code.reward import Reward

TURNED = {
    "<": "<=",
    "<=": "<",
    ">": ">=",
    ">=": ">",
    "==": "!=",
    "!=": "==",
    " and ": " or ",
    " or ": " and ",
    " + ": " - ",
    " - ": " + ",
    " * ": " + ",
    "+=": "-=",
    "max(": "min(",
    "min(": "max(",
}
PLACE = re.compile("|".join([r"(?<![\w.])\d+(?![\w.])", *map(re.escape, sorted(TURNED, key=len, reverse=True))]))
MOST_OFF = 3


def careless(code: str, rate: float, rng: random.Random) -> str:
    """The code with a slip in each line, of those where one can be, at this rate."""
    return "".join(_slipped(line, rng) if rng.random() < rate else line for line in code.splitlines(keepends=True))


def _slipped(line: str, rng: random.Random) -> str:
    places = list(PLACE.finditer(line))
    if not places:
        return line
    place = rng.choice(places)
    said = place.group()
    if said.isdigit():
        said = str(max(0, int(said) + rng.choice([n for n in range(-MOST_OFF, MOST_OFF + 1) if n])))
    return line[: place.start()] + TURNED.get(said, said) + line[place.end() :]


def main(
    output: Annotated[Path, typer.Argument(help="Folder to write.")],
    steps: Annotated[int, typer.Option(help="Optimizer steps of 32 rows.")] = 1000,
    rate: Annotated[float, typer.Option(help="Share of the lines with a slip, of those that can have one.")] = 0.3,
    seed: int = 0,
) -> None:
    teaching.begin(seed)
    policy, tokenizer = load_policy(BUNDLED_CODE)
    rng = random.Random(seed)
    stream = list(itertools.islice(functions.problems("train", seed + 1), steps * 32))
    taught = rows(stream, rng, lambda code: careless(code, rate, rng), asked=1.0, longest=LONGEST_VALUE)
    learned = list(itertools.islice(taught, steps * 32))
    own = {"learning_rate": 2e-3, "lr_scheduler_type": "linear", "warmup_steps": 20, "seed": seed}
    policy = teaching.taught(policy, tokenizer, learned, output, steps, **own)
    held_out = list(itertools.islice(functions.problems("held_out", seed), 500))
    facts = {"task": "code", "difficulty": "medium", "steps": steps, "rate": rate, "seed": seed}
    teaching.save(policy, tokenizer, output, facts, held_out, Reward(held_out), 96)


if __name__ == "__main__":
    typer.run(main)
