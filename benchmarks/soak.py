"""A long training with small steps: memory, descriptors, threads and child processes over the steps.

    python benchmarks/soak.py --steps 2000 --json benchmarks/soak.json
    python benchmarks/soak.py --steps 300 --task code --json benchmarks/soak-code.json

Everything that `spancredit train` does is on: credit, records, held-out accuracy, checkpoints. It says what grows
in a thousand steps, from the second quarter, when caches and allocators have settled, to the last.
"""

import argparse
import json
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import torch
from rich.console import Console
from transformers import TrainerCallback

from spancredit.commands import train as command

EVERY = 10  # steps between two looks
SMALL = {
    "wordproblems": ["--difficulty", "easy", "--max_completion_length", "48"],
    "code": ["--task", "code", "--max_completion_length", "64"],
}
ALIKE = [
    *("--per_device_train_batch_size", "8", "--num_generations", "4", "--train_problems", "512"),
    *("--held_out_problems", "8", "--held_out_steps", "100", "--save_steps", "100", "--records_per_step", "2"),
    *("--learning_rate", "1e-6", "--dynamic_sampling_rounds", "1"),
]


class Watch(TrainerCallback):
    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.process = psutil.Process()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step % EVERY:
            return
        with self.process.oneshot():
            self.rows.append(
                {
                    "step": state.global_step,
                    "mib": round(self.process.memory_info().rss / 2**20, 1),
                    "descriptors": self.process.num_fds(),
                    "threads": self.process.num_threads(),
                    "children": len(self.process.children(recursive=True)),
                }
            )


def growth(rows: list[dict[str, Any]], name: str) -> float:
    """From the median of the second quarter to that of the last, over a thousand steps."""
    quarter = len(rows) // 4
    early, late = rows[quarter : 2 * quarter], rows[3 * quarter :]
    steps = median(row["step"] for row in late) - median(row["step"] for row in early)
    return 1000 * (median(row[name] for row in late) - median(row[name] for row in early)) / steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--task", choices=SMALL, default="wordproblems")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    watch = Watch()
    recorder = command.Recorder
    command.Recorder = type("Watched", (recorder,), {"on_step_end": _both(recorder.on_step_end, watch)})  # type: ignore[misc]
    with TemporaryDirectory() as folder:
        flags = [*SMALL[given.task], *ALIKE, "--max_steps", str(given.steps), "--output_dir", f"{folder}/run"]
        run = command.train(flags, Console(quiet=True))
        written = {path.name: path.stat().st_size for path in run.path.glob("*.jsonl")}
        steps = [row["step"] for row in run.rows(run.metrics)]
    assert steps == list(range(1, given.steps + 1)), "every step is logged once"
    grown = {name: round(growth(watch.rows, name), 2) for name in ("mib", "descriptors", "threads", "children")}
    told = {"task": given.task, "steps": given.steps, "growth_per_1000_steps": grown, "bytes_written": written}
    print(json.dumps({**told, "first": watch.rows[0], "last": watch.rows[-1]}, indent=2))
    if given.json:
        given.json.write_text(json.dumps({**told, "rows": watch.rows}) + "\n")


def _both(own: Any, watch: Watch) -> Any:
    def on_step_end(self: Any, args: Any, state: Any, control: Any, **named: Any) -> None:
        own(self, args, state, control, **named)
        watch.on_step_end(args, state, control)

    return on_step_end


if __name__ == "__main__":
    main()
