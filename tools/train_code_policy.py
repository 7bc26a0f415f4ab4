"""Make the bundled policy of the task `code`: a small Llama with its tokenizer, taught on generated functions.

    python tools/train_code_policy.py            # rewrites src/spancredit/policies/code; 15 minutes on one core

It is taught two things: to continue a header and docstring with the function's body, and to say what a call of a
finished function returns, as an interpreter's session would show it: what an outcome probe asks. Training stops early
on purpose: at 30 to 50 % of held-out functions there is room for reinforcement learning to improve.
"""

import itertools
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import teaching
import typer
from train_policy import make_model, make_tokenizer, schedule

from spancredit.tasks.code import CodeProblem, functions
from spancredit.tasks.code.outcome import typed
from spancredit.tasks.code.reward import Reward

POLICY = Path(__file__).parents[1] / "src" / "spancredit" / "policies" / "code"
MOST_TOKENS = 96
ASKED = 0.3  # of the functions, for the value of a call
LONGEST = 24  # characters of a value that is asked for


def rows(
    problems: list[CodeProblem],
    rng: random.Random,
    written: Callable[[str], str] = str,
    asked: float = ASKED,
    longest: int = LONGEST,
) -> Iterator[dict[str, str]]:
    """For each problem a function to write, and for some one call of the solution, to say the value of.

    Args:
        written: What becomes of the solution that is taught.
        asked: The share of the problems with a call.
        longest: Characters of its value, at most.
    """
    for problem in problems:
        yield {"prompt": problem.prompt, "completion": written(problem.solution)}
        calls = list(zip(problem.calls, problem.expected or (), strict=True))
        call, value = rng.choice(calls)
        if rng.random() < asked and len(repr(value)) <= longest:
            question = f"{problem.prompt}{problem.solution}\n{typed(problem, call)}"
            yield {"prompt": question, "completion": repr(value)}


def main(
    output: Annotated[Path, typer.Option(help="Folder to write.")] = POLICY,
    steps: Annotated[int, typer.Option(help="Optimizer steps of 32 rows.")] = 800,
    seed: int = 0,
) -> None:
    teaching.begin(seed)
    stream = list(itertools.islice(functions.problems("train", seed=seed), steps * 32))
    learned = list(itertools.islice(rows(stream, random.Random(seed)), steps * 32))
    tokenizer = make_tokenizer([row["prompt"] + row["completion"] for row in learned[:5000]], lines=True)
    policy = teaching.taught(make_model(tokenizer), tokenizer, learned, output, steps, seed=seed, **schedule(steps))
    held_out = list(itertools.islice(functions.problems("held_out", seed=seed), 500))
    facts = {"task": "code", "steps": steps, "seed": seed}
    teaching.save(policy, tokenizer, output, facts, held_out, Reward(held_out), MOST_TOKENS)


if __name__ == "__main__":
    typer.run(main)
