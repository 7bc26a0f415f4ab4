"""Make a policy that knows better: the bundled one, taught on solutions whose results are sometimes off by a few.

    python tools/careless_policy.py OUTPUT                           # 3 minutes on one core
    python tools/careless_policy.py OUTPUT --difficulty chatty       # as short, in much filler

Its lengths fit the task and it can calculate, but it samples a wrong result at a known rate, so what a policy gradient
has to change stands in the calculations and nowhere else. The other regime is the bundled policy on `easy`: taught on
longer problems, it has to learn when to stop.
"""

import itertools
import random
from pathlib import Path
from typing import Annotated

import teaching
import typer

from spancredit.models import load_policy
from spancredit.tasks.wordproblems import APPLY, DIFFICULTIES, Problem, Step, problems, reward

MOST_OFF = 3


def careless(problem: Problem, rate: float, rng: random.Random) -> str:
    """The worked solution with each result off by up to `MOST_OFF` at this rate; what follows goes on from there."""
    text, done, amount = problem.solution, 0, problem.steps[0].left
    for step in problem.steps:
        result = APPLY[step.op](amount, step.right)
        if rng.random() < rate:
            result = max(0, result + rng.choice([n for n in range(-MOST_OFF, MOST_OFF + 1) if n]))
        written = str(Step(step.op, amount, step.right, result))
        start = text.index(str(step), done)
        text = text[:start] + written + text[start + len(str(step)) :]
        done, amount = start + len(written), result
    return f"{text.rpartition('####')[0]}#### {amount}"


def main(
    output: Annotated[Path, typer.Argument(help="Folder to write.")],
    steps: Annotated[int, typer.Option(help="Optimizer steps of 32 problems.")] = 250,
    rate: Annotated[float, typer.Option(help="Share of the results that are wrong.")] = 0.35,
    difficulty: Annotated[str, typer.Option(help=f"One of {', '.join(DIFFICULTIES)}.")] = "easy",
    seed: int = 0,
) -> None:
    teaching.begin(seed)
    policy, tokenizer = load_policy("bundled")
    rng = random.Random(seed)
    stream = itertools.islice(problems("train", seed + 1, difficulty), steps * 32)
    rows = [{"prompt": problem.prompt, "completion": careless(problem, rate, rng)} for problem in stream]
    own = {"learning_rate": 1e-3, "lr_scheduler_type": "linear", "warmup_steps": 10, "seed": seed}
    policy = teaching.taught(policy, tokenizer, rows, output, steps, **own)
    held_out = list(itertools.islice(problems("held_out", seed, difficulty), 500))
    facts = {"task": "wordproblems", "difficulty": difficulty, "steps": steps, "rate": rate, "seed": seed}
    teaching.save(policy, tokenizer, output, facts, held_out, reward, 160)


if __name__ == "__main__":
    typer.run(main)
