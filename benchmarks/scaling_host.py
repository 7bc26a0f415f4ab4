"""What the host does beside the forwards, for `scaling.py --check`: planning, and what a trainer's ranks send."""

import pickle
import tempfile
import time
import tracemalloc
from itertools import islice
from typing import Any

import torch
from datasets import Dataset
from scaling_count import counted
from scaling_setting import PROMPT

from spancredit.bench.floor import rows_of
from spancredit.bench.work import Sizes, random_work
from spancredit.counterfactual.masks import Intervals
from spancredit.counterfactual.parts import batches, cut
from spancredit.counterfactual.trie import Trie
from spancredit.models import load_policy
from spancredit.tasks.wordproblems import problems
from spancredit.training.trl import CreditGRPOConfig, CreditGRPOTrainer


def host(rollouts: int = 8, completion: int = 1000) -> dict[str, float]:
    """Planning, in microseconds and bytes a node of the trie; and bytes of rollouts unpickled in a second."""
    work = random_work(Sizes(PROMPT, completion, 32, rollouts, rollouts), 2**16, 0, seed=0)
    rows = [row for item in work.items for row in rows_of(item, "pad", [0], None)]
    tries: list[Trie] = []

    def plan() -> None:
        tries.append(Trie())
        for row in rows:
            tries[-1].add(row)
        Intervals.of(tries[-1])
        for _ in batches(cut(tries[-1], 2**14, 2**14), 2**14, 1024):
            pass

    started = time.process_time()
    plan()
    seconds = time.process_time() - started
    tracemalloc.start()
    plan()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    row = {name: torch.zeros(16000, dtype=torch.long) for name in ("completion_ids", "completion_mask")}
    sent = pickle.dumps([{**row, "nth": i} | {name: value.clone() for name, value in row.items()} for i in range(200)])
    started = time.process_time()
    pickle.loads(sent)  # noqa: S301 (what stands two lines above)
    read = time.process_time() - started
    return {
        "unpickled": len(sent) / read,
        "nodes": len(tries[0]),
        "microseconds": 1e6 * seconds / len(tries[0]),
        "bytes": peak / len(tries[0]),
    }


def training() -> dict[str, Any]:
    """What two rounds of dynamic sampling and an observer make the ranks send in one step of a real trainer."""
    model, tokenizer = load_policy("bundled")
    rows = Dataset.from_list([problem.row() for problem in islice(problems("train", 0, "easy"), 64)])
    shapes: list[dict[str, int]] = []

    def observe(batch: Any) -> None:
        sizes = [
            (len(r.prompt_ids), len(r.completion_ids), len(c.spans))
            for r, c in zip(batch.rollouts, batch.credits, strict=True)
        ]
        shapes.append(
            {
                "rollouts": len(sizes),
                **{n: sum(s[i] for s in sizes) for i, n in enumerate(("prompt", "completion", "spans"))},
            }
        )

    with tempfile.TemporaryDirectory() as folder:
        config = CreditGRPOConfig(
            output_dir=folder,
            max_steps=1,
            per_device_train_batch_size=16,
            num_generations=8,
            max_completion_length=64,
            use_cpu=True,
            bf16=False,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
            logging_steps=1,
            gradient_checkpointing=False,
            num_iterations=2,
            dynamic_sampling_rounds=2,
        )
        trainer = CreditGRPOTrainer(
            model,
            lambda completions, **_: [float(len(c) % 2) for c in completions],
            config,
            train_dataset=rows,
            processing_class=tokenizer,
            on_credit=observe,
        )
        with counted() as seen:
            trainer.train()
    return {"sent": dict(seen), "batches": shapes}
