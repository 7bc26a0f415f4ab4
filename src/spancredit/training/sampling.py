"""Dynamic sampling (DAPO, arXiv 2503.14476, 3.2): groups whose rewards are all equal make way for fresh prompts.

first draw -> groups with a signal are kept, the others counted -> fresh prompts for what is missing, round by round

The stock prompt stream is untouched. What a round draws follows from the seed, the step and the round alone, so a
resumed run draws the same, and all ranks decide alike because all see every row.
"""

import json
import math
import random
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import torch
from accelerate.utils import gather_object
from datasets import IterableDataset
from transformers import ProcessorMixin
from trl import GRPOConfig

from spancredit.errors import TrainerError
from spancredit.training.checked import CheckedTrainer
from spancredit.training.groups import Drawn, Group, by_signal, round_size, with_advantage
from spancredit.training.rows import SCALAR, join_rows, loss_tokens, split_rows

COUNTER = "num_tokens"  # TRL's metric of what was generated so far


@dataclass
class DynamicSamplingConfig(GRPOConfig):
    """Arguments of `DynamicSamplingTrainer`: every field of `trl.GRPOConfig`, and one more.

    Raises:
        TrainerError: if the rounds are negative, or advantages are scaled by more than their own group.
    """

    dynamic_sampling_rounds: int = field(
        default=0,
        metadata={
            "help": "Most rounds of fresh prompts that replace groups whose rewards are all equal (DAPO's dynamic "
            "sampling); 0: none."
        },
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dynamic_sampling_rounds < 0:
            raise TrainerError(f"dynamic_sampling_rounds is {self.dynamic_sampling_rounds}; expected at least 0.")
        if not self.dynamic_sampling_rounds:
            return
        if self.scale_rewards == "batch" or self.multi_objective_aggregation != "sum_then_normalize":
            raise TrainerError(
                f"scale_rewards is {self.scale_rewards!r} and multi_objective_aggregation is "
                f"{self.multi_objective_aggregation!r}; dynamic sampling expects 'group' or 'none', and "
                "'sum_then_normalize', since the batch that the others normalise by is not known yet."
            )


class DynamicSamplingTrainer(CheckedTrainer):
    """`trl.GRPOTrainer` whose batches are filled up with groups that carry a signal.

    A `CheckedTrainer`, which takes what `GRPOTrainer` takes. A group is kept if its rewards differ and the loss reads a
    token of a rollout with an advantage. After at most `dynamic_sampling_rounds` rounds the batch is filled up with
    groups that do not: their advantage is zero. Metrics of TRL are those of the first draw; its table of completions
    shows what is trained on. What was drawn, kept and dropped is logged under `dynamic_sampling/`.

    Raises:
        TrainerError: at start, if `args` is no `DynamicSamplingConfig`, the dataset has no length, or prompts have
            images; and as `CheckedTrainer`.
    """

    def __init__(
        self, model: Any, reward_funcs: Any = None, args: DynamicSamplingConfig | None = None, *rest: Any, **named: Any
    ):
        if args is not None and not isinstance(args, DynamicSamplingConfig):
            raise TrainerError(f"args is a {type(args).__name__}; expected a DynamicSamplingConfig.")
        super().__init__(model, reward_funcs, args or DynamicSamplingConfig(), *rest, **named)
        self._prompts: Any = None  # the dataset as the loader gives it, once prompts were drawn from it
        self._batch = (-1, 0)  # optimizer step, and which of its generation batches
        if not self.args.dynamic_sampling_rounds:
            return
        if isinstance(self.train_dataset, IterableDataset):
            raise TrainerError("the dataset is a stream; dynamic sampling draws prompts by number, expected a Dataset.")
        if isinstance(self.processing_class, ProcessorMixin):
            raise TrainerError("the policy reads images, which dynamic sampling does not carry; expected text alone.")

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        if not self.model.training or not self.args.dynamic_sampling_rounds:
            return super()._generate_and_score_completions(inputs)
        step, batch = self._batch
        self._batch = (self.state.global_step, batch + 1 if step == self.state.global_step else 0)
        seen = set(gather_object([_key(row) for row in inputs]))  # before TRL writes what rollout_func adds into them
        return self._filled_up(super()._generate_and_score_completions(inputs), inputs, seen)

    def _filled_up(self, output: dict[str, Any], inputs: list[dict[str, Any]], seen: set[str]) -> dict[str, Any]:
        """The batch with what has no signal replaced, as far as the rounds go."""
        before = {name: len(values) for name, values in self._metrics["train"].items()}
        kept, rest = by_signal(self._groups(output, inputs))
        wanted, rounds = len(kept) + len(rest), 0
        while len(kept) < wanted and rounds < self.args.dynamic_sampling_rounds:
            prompts = self._fresh(round_size(len(kept), len(kept) + len(rest), wanted), rounds, seen)
            if not prompts:
                break
            rounds += 1
            seen |= {_key(row) for row in prompts}
            own = self._local(prompts)
            more, others = by_signal(self._groups(super()._generate_and_score_completions(own), own))
            kept, rest = kept + more, rest + others
        self._forget_metrics(before)
        filler = rest[: max(0, wanted - len(kept))]
        chosen = [*kept[:wanted], *filler]
        if filler:  # not all of it on the last ranks, which would have nothing to score
            self._chance("order").shuffle(chosen)
        self._count(len(kept), len(rest), len(filler), chosen, rounds)
        return self._joined([rollout for group in chosen for rollout in group]) if rounds else output

    def _groups(self, output: dict[str, Any], inputs: list[dict[str, Any]]) -> list[Group]:
        """The groups of a draw over all ranks, each rollout with what TRL logged of it."""
        rows, asked = gather_object(split_rows(output)), gather_object(inputs)
        columns = {key: list(values)[-len(rows) :] for key, values in self._columns().items()}
        logs = {key: [None] * (len(rows) - len(values)) + values for key, values in columns.items()}
        rollouts = [
            Drawn(row, own, {key: values[i] for key, values in logs.items()}, *rewards)
            for i, (row, own, *rewards) in enumerate(
                zip(rows, asked, self.batch_rewards, self.batch_first_rewards, strict=True)
            )
        ]
        size = self.num_generations
        return [rollouts[i : i + size] for i in range(0, len(rollouts), size)]

    def _columns(self) -> dict[tuple[str, str], deque[Any]]:
        """TRL's log of completions: its columns, of which the last entries belong to the last draw."""
        nested = {(table, name): values for table in ("rewards", "extra") for name, values in self._logs[table].items()}
        return {(name, ""): self._logs[name] for name in ("prompt", "completion", "advantages")} | nested

    def _fresh(self, count: int, round_: int, seen: set[str]) -> list[dict[str, Any]]:
        """Up to `count` prompts that are not in `seen`, as many as all ranks can share evenly."""
        if self._prompts is None:
            self._prompts = self._remove_unused_columns(self.train_dataset, "training")
        unit, size = self._unit(), len(self._prompts)
        count = -(-count // unit) * unit
        order = self._chance(f"round {round_}").sample(range(size), min(size, count + len(seen)))
        found: dict[str, dict[str, Any]] = {}
        for row in (self._prompts[i] for i in order):
            if len(found) < count and _key(row) not in seen:
                found[_key(row)] = row
        return list(found.values())[: len(found) // unit * unit]

    def _chance(self, use: str) -> random.Random:
        """The same on every rank, and in a run that resumes."""
        return random.Random(f"{self.args.seed} {self._batch} {use}")

    def _unit(self) -> int:
        """Groups whose rollouts the ranks can share evenly."""
        ranks = self.accelerator.num_processes
        return ranks // math.gcd(ranks, self.num_generations)

    def _local(self, prompts: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """This rank's share of a draw, every prompt once for each completion."""
        return self._own([dict(row) for row in prompts for _ in range(self.num_generations)])

    def _own(self, rows: list[Any]) -> list[Any]:
        """This rank's share of what all ranks have."""
        share, rank = len(rows) // self.accelerator.num_processes, self.accelerator.process_index
        return rows[rank * share : (rank + 1) * share]

    def _joined(self, rollouts: list[Drawn]) -> dict[str, Any]:
        """This rank's share of the batch, and TRL's log of the whole."""
        for key, values in self._columns().items():
            values.clear()
            values.extend(rollout.log.get(key) for rollout in rollouts)
        self.batch_rewards = [rollout.reward for rollout in rollouts]
        self.batch_first_rewards = [rollout.first_reward for rollout in rollouts]
        self.batch_inputs = [rollout.asked for rollout in self._own(rollouts)]
        rows, device = [rollout.row for rollout in self._own(rollouts)], self.accelerator.device
        batch = join_rows(rows, self._tokenizer.pad_token_id, self.pad_to_multiple_of, device)
        return {**batch, SCALAR: torch.tensor(sum(loss_tokens(rollout.row) for rollout in rollouts), device=device)}

    def _forget_metrics(self, before: dict[str, int]) -> None:
        """Leave TRL's metrics as the first draw made them; its count of tokens goes on."""
        metrics = self._metrics["train"]
        for name in [name for name in metrics if name != COUNTER]:
            del metrics[name][before.get(name, 0) :]
            if not metrics[name]:
                del metrics[name]

    def _count(self, kept: int, rest: int, filler: int, chosen: list[Group], rounds: int) -> None:
        pushed, rollouts = sum(len(with_advantage(group)) for group in chosen), sum(map(len, chosen))
        counts = {
            "rounds": rounds,
            "groups_drawn": kept + rest,
            "groups_without_signal": rest,
            "groups_beyond_the_batch": kept + filler - len(chosen),
            "groups_filled_up": filler,
            "share_with_advantage": pushed / rollouts,
        }
        for name, value in counts.items():
            self._metrics["train"][f"dynamic_sampling/{name}"].append(value)


def _key(row: dict[str, Any]) -> str:
    return json.dumps(row, sort_keys=True, default=str)
