"""Two steps with a credit_func on completions that are written for it. Run by test_ranks.py: FOLDER FUNCTION.

`lengths` measures by the row that a completion answers; `exchange` runs programs. Every process writes what its
function was given, and the main one what was trained.
"""

import faulthandler
import json
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from datasets import Dataset
from toy_models import TRAINER

import spancredit as sc
from spancredit.models import load_policy
from spancredit.sandbox import Call
from spancredit.tasks.code import CodeProblem, Reward
from spancredit.tasks.code.outcome import execution_credit
from spancredit.training.trl import CreditGRPOConfig, CreditGRPOTrainer

GROUP, PROBLEMS = 4, 4
RIGHT = "    result = {}\n    for x in xs:\n        if x > {}:\n            result += x\n    return result\n"


def problem(number: int) -> CodeProblem:
    calls = [[1, 2, 30], [number, 9], []]
    expected = [number + sum(x for x in xs if x > 2) for xs in calls]
    name = f"sum{number}"
    return CodeProblem(name, f"def {name}(xs):\n", name, "", tuple(Call((xs,)) for xs in calls), tuple(expected))


def completion(number: int, place: int) -> str:
    """Of a group one is right, one begins with a wrong number, and two part from it where they compare."""
    return RIGHT.format(number + (place == 1), {2: 1, 3: 9}.get(place, 2))


class Scripted(CreditGRPOTrainer):
    """Completions follow from the prompt and their place in the group."""

    def _generate_single_turn(self, prompt_ids, *_):
        numbers = [int(self._tokenizer.decode(ids).split("sum")[1].partition("(")[0]) for ids in prompt_ids]
        texts = [completion(number, i % GROUP) for i, number in enumerate(numbers)]
        return [self._tokenizer(text, add_special_tokens=False).input_ids for text in texts], None


def lengths(rollouts, rows, config):
    """The first tokens of a completion are worth all, as many as its row says."""
    cuts = [1 + row["number"] for row in rows]
    spans = [[(0, cut), (cut, len(r.completion_ids))] for cut, r in zip(cuts, rollouts, strict=True)]
    return sc.credit_from_drops(rollouts, spans, [[1.0, 0.25]] * len(rollouts), config)


def main(folder: Path, name: str) -> None:
    faulthandler.dump_traceback_later(int(os.environ["SECONDS"]), exit=True)
    torch.set_num_threads(1)
    processes, rank = int(os.environ.get("WORLD_SIZE", 1)), os.environ.get("RANK", "0")
    policy, tokenizer = load_policy("bundled", trainable=True, dtype=torch.float64)
    problems = [problem(number) for number in range(PROBLEMS)]
    reward = Reward(problems)
    given, batches = [], []
    func = lengths if name == "lengths" else execution_credit(reward, tokenizer, exchange=True)

    def noting(rollouts, rows, config):
        texts = [tokenizer.decode(rollout.completion_ids) for rollout in rollouts]
        given.extend([row["answer"], text] for row, text in zip(rows, texts, strict=True))
        return func(rollouts, rows, config)

    config = CreditGRPOConfig(
        output_dir=str(folder),
        max_steps=2,
        per_device_train_batch_size=2 * GROUP // processes,
        num_generations=GROUP,
        max_completion_length=200,
        shuffle_dataset=False,
        optim="sgd",
        max_grad_norm=0.0,
        **TRAINER | {"learning_rate": 0.05},
    )
    rows = [{"prompt": one.prompt, "answer": one.name, "number": i} for i, one in enumerate(problems)]
    trainer = Scripted(
        policy,
        reward.of_shares(),
        config,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        credit_func=noting,
        on_credit=batches.append,
    )
    trainer.train()
    (folder / f"given-{rank}.json").write_text(json.dumps(given))
    if trainer.accelerator.is_main_process:
        credits = {
            (batch.step, *rollout.prompt_ids, *rollout.completion_ids): (credit.token_weights, credit.method)
            for batch in batches
            for rollout, credit in zip(batch.rollouts, batch.credits, strict=True)
        }
        parameters = {key: value.detach().clone() for key, value in trainer.model.named_parameters()}
        log = [row for row in trainer.state.log_history if "credit/scored" in row]
        torch.save({"parameters": parameters, "credits": credits, "log": log}, folder / "result.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()
