"""A few steps of the trainer on completions that are written for it, so that one process and two train on the same.

Run by test_ranks.py: `training_on_ranks.py FOLDER STEPS`. Of two prompts in a row the first gets completions of twenty
steps and the second ones without an answer, so that of two ranks one has all there is to score. With `sampled`
the policy writes its own, which end where they end, on each rank.
FSDP2 and ZeRO-3 are chosen as `accelerate launch` chooses them, by the environment; accelerate ignores them on the CPU,
and is brought to take the ranks for accelerators that talk by gloo. DeepSpeed trains in float32, all else in float64.
"""

import faulthandler
import gc
import os
import sys
from contextlib import nullcontext
from pathlib import Path

import torch
import torch.distributed as dist
from accelerate.state import PartialState
from accelerate.utils import DistributedType
from datasets import Dataset
from torch.distributed.tensor import DTensor
from toy_models import TRAINER

from spancredit.counterfactual.sharded import is_sharded
from spancredit.models import load_policy
from spancredit.training.trl import CreditGRPOConfig, CreditGRPOTrainer

GROUP = 4
USES = {"ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED"}


class Scripted(CreditGRPOTrainer):
    """Completions follow from the prompt and their place in the group."""

    def _generate_single_turn(self, prompt_ids, *_):
        texts = [completion(self._tokenizer.decode(ids), i % GROUP) for i, ids in enumerate(prompt_ids)]
        return [self._tokenizer(text, add_special_tokens=False).input_ids for text in texts], None


def completion(prompt: str, place: int) -> str:
    number = int(prompt.split()[1])
    if number % 2:
        return " I do not know." + " Moving on." * place
    steps = [f" {k} + {number + place} = {k + number + place}." for k in range(2, 22)]
    return "".join(steps) + f"\n#### {21 + number + place}"


def reward(completions, **_):
    """Differs inside every group: what the last character of the text says."""
    return [float(len(text) % 3) for text in completions]


def whole(value: torch.Tensor) -> torch.Tensor:
    return value.full_tensor() if isinstance(value, DTensor) else value


def main(folder: Path, steps: int, trainer_class: type[CreditGRPOTrainer] = Scripted) -> None:
    faulthandler.dump_traceback_later(int(os.environ["SECONDS"]), exit=True)
    torch.set_num_threads(1)
    processes, shards = int(os.environ.get("WORLD_SIZE", 1)), not USES.isdisjoint(os.environ)
    zero = "ACCELERATE_USE_DEEPSPEED" in os.environ
    if zero:
        import deepspeed
    if shards:
        PartialState._prepare_backend = lambda *_: ("gloo", DistributedType.MULTI_GPU)
    policy, tokenizer = load_policy("bundled", trainable=True, dtype=torch.float32 if zero else torch.float64)
    config = CreditGRPOConfig(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=2 * GROUP // processes,
        num_generations=GROUP,
        max_completion_length=400 if trainer_class is Scripted else 60,
        shuffle_dataset=False,
        optim="sgd",
        max_grad_norm=0.0,
        **TRAINER | {"learning_rate": 0.05, "use_cpu": not shards},
    )
    batches = []
    observer = batches.append if os.environ.get("RANK", "0") == "0" else None
    rows = Dataset.from_list([{"prompt": f"Question: {number} boxes.\nSolution:"} for number in range(20)])
    trainer = trainer_class(
        policy,
        reward,
        config,
        train_dataset=rows,
        processing_class=tokenizer,
        on_credit=observer,
    )
    trainer.train()
    assert is_sharded(trainer.model) == shards
    with deepspeed.zero.GatheredParameters(trainer.model.parameters()) if zero else nullcontext():
        parameters = {name: whole(value.detach()).double().clone() for name, value in trainer.model.named_parameters()}
    if trainer.accelerator.is_main_process:
        weights = {
            (batch.step, *rollout.prompt_ids, *rollout.completion_ids): (credit.token_weights, credit.reason)
            for batch in batches
            for rollout, credit in zip(batch.rollouts, batch.credits, strict=True)
        }
        log = [row for row in trainer.state.log_history if "credit/scored" in row]
        torch.save({"parameters": parameters, "weights": weights, "log": log}, folder / "result.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), CreditGRPOTrainer if sys.argv[3:] == ["sampled"] else Scripted)
    gc.collect()  # shards that outlive their process group abort the process at its end, now and then
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()
