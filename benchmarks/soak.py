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
from typing import Any, ClassVar

import psutil
import torch
from rich.console import Console

from spancredit.commands import train as command
from spancredit.commands.recorder import Recorder

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


class Watched(Recorder):
    """The command's own callback, which looks at its process now and then."""

    rows: ClassVar[list[dict[str, Any]]] = []

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **named: Any) -> None:
        super().on_step_end(args, state, control, model, **named)
        if state.global_step % EVERY == 0:
            self.rows.append({"step": state.global_step, **looked_at(psutil.Process())})


def looked_at(process: psutil.Process) -> dict[str, Any]:
    with process.oneshot():
        return {
            "mib": round(process.memory_info().rss / 2**20, 1),
            "descriptors": process.num_fds(),
            "threads": process.num_threads(),
            "children": len(process.children(recursive=True)),
        }


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
    command.Recorder = Watched  # type: ignore[misc]
    with TemporaryDirectory() as folder:
        flags = [*SMALL[given.task], *ALIKE, "--max_steps", str(given.steps), "--output_dir", f"{folder}/run"]
        run = command.train(flags, Console(quiet=True))
        written = {path.name: path.stat().st_size for path in run.path.glob("*.jsonl")}
        steps = [row["step"] for row in run.rows(run.metrics)]
    assert steps == list(range(1, given.steps + 1)), "every step is logged once"
    grown = {name: round(growth(Watched.rows, name), 2) for name in ("mib", "descriptors", "threads", "children")}
    told = {"task": given.task, "steps": given.steps, "growth_per_1000_steps": grown, "bytes_written": written}
    print(json.dumps({**told, "first": Watched.rows[0], "last": Watched.rows[-1]}, indent=2))
    if given.json:
        given.json.write_text(json.dumps({**told, "rows": Watched.rows}) + "\n")


if __name__ == "__main__":
    main()
