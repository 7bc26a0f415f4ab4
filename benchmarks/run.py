"""Every benchmark in one command; writes RESULTS.md, results-DEVICE.json and growth-DEVICE.svg beside this file.

    python benchmarks/run.py                              # on the CPU
    python benchmarks/run.py --device cuda                # at most about 8 minutes
    python benchmarks/run.py --model FOLDER --gsm8k FILE.jsonl

Each job is a `spancredit bench` command in a process of its own. `benchmarks/gemma.py` makes a model to give here.
RESULTS.md holds what the JSON files beside it do, so a run on one device keeps the tables of the other.
"""

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spancredit.bench.plot import plot_growth
from spancredit.bench.show import tables_of

HERE = Path(__file__).parent
CUDA_MINUTES = 8.0
TABLES = ("spans", "completion", "group", "vocabulary")
TITLES = {
    "gsm8k": "GSM8K's own solutions",
    "gsm8k-group": "Eight of them as completions of one prompt",
    "scorers": "Random tokens",
    "scorers-group": "Random tokens, long completions of one prompt",
    **{f"growth-{name}": f"Growth with {name}" for name in TABLES},
    "step": "Share of a training step: the embedded task",
    "step-random": "Share of a training step: random prompts, completions of a forced length",
    "step-budget": "The same with a budget of a tenth",
    "step-embedded-budget": "The embedded task with a budget of a tenth",
}


@dataclass(frozen=True)
class Job:
    """One `spancredit bench` command.

    Args:
        name: A key of TITLES.
        arguments: After `spancredit bench`.
    """

    name: str
    arguments: tuple[str, ...]

    @property
    def command(self) -> str:
        """As a reader would type it: the names of files without the folders they were in here."""
        shown = [f"gsm8k:{Path(a[6:]).name}" if a.startswith("gsm8k:") else a for a in self.arguments]
        return shlex.join(["spancredit", "bench", *(Path(a).name if a.startswith("/") else a for a in shown)])


def jobs(device: str, model: str | None, gsm8k: Path | None, quick: bool) -> list[Job]:
    """What is measured, the most important first; a large model in bfloat16 on CUDA, a small one on the CPU."""
    cuda = device == "cuda"
    dtype = ("--dtype", "bfloat16") if cuda else ()
    shape = ("--shape", "tiny" if quick or not cuda else "0.5b", *dtype)
    long = "96" if quick else "512"
    group = ("--completion", long, "--rollouts", "8", "--group", "8")
    if not cuda:
        group = ("--completion", "96" if quick else "256", "--rollouts", "4", "--group", "4")
    steps = ("step", *shape, "--completion", long, "--spans", "16", "--steps", "1" if quick else "3", "--batch", "16")
    repeats = ("--repeats", "1" if quick else "5")
    found = [
        Job("scorers", ("scorers", *shape, *repeats)),
        Job("scorers-group", ("scorers", *shape, *group, *repeats)),
        Job("step-random", steps),
        Job("step-budget", (*steps, "--budget", "0.1")),
        Job("step", ("step", "--batch", "32" if quick else "128")),
        Job("step-embedded-budget", ("step", "--batch", "32" if quick else "128", "--budget", "0.1")),
    ]
    if gsm8k is not None:
        source = ("--model", str(Path(model).resolve()), *dtype) if model else ("--model", "bundled")
        repeats_here = repeats if cuda or not model else ("--repeats", "1" if quick else "3")
        work = ("--work", f"gsm8k:{gsm8k.resolve()}", *repeats_here)
        eight = ("--rollouts", "8", "--group", "8", "--scorers", "packed", "--horizons", "16,0")
        found.insert(0, Job("gsm8k", ("scorers", *source, *work)))
        found.insert(1, Job("gsm8k-group", ("scorers", *source, *work, *eight)))
    for name in TABLES:
        size: tuple[str, ...] = ("--quick", "--rollouts", "4") if quick else ()
        if not cuda and not quick:
            size = ("--rollouts", "1") if name in ("spans", "completion") else ("--rollouts", "4")
        again = repeats if cuda or quick else ("--repeats", "3")
        found.append(Job(f"growth-{name}", ("growth", "--tables", name, *shape, *size, *again)))
    where = ("--device", device) if cuda else ()
    return [Job(job.name, (*job.arguments, *where)) for job in found]


def run(job: Job, seconds: float | None) -> dict[str, Any]:
    """The job's report, or in one line why there is none."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "report.json"
        command = [sys.executable, "-m", "spancredit", "bench", *job.arguments, "--out", str(out)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
        except subprocess.TimeoutExpired:
            return {"missing": "it ran out of time"}
        if done.returncode:
            return {"missing": (done.stderr.strip().splitlines() or ["it failed without a word"])[-1]}
        return {"report": json.loads(out.read_text())}


def plot(results: list[dict[str, Any]], path: Path) -> bool:
    """All growth tables as one picture; False if there is none."""
    tables = {
        name: table for entry in results for name, table in entry.get("report", {}).get("tables", {}).items() if table
    }
    if tables:
        plot_growth({"tables": tables}, path)
    return bool(tables)


def render(folder: Path) -> str:
    """RESULTS.md, from the JSON files in the folder."""
    parts = [
        "# Results",
        "Made by `python benchmarks/run.py`. The unit of every ratio is one policy forward (the padded batch, logits "
        "for every completion token) timed in the same rounds; figures are medians. The floor prices, in "
        "multiply-adds, the tokens and logits that cannot be avoided, in units of the same padded policy forward. "
        "`published` is our re-creation of what the paper's authors' package computes for its cost, not its numbers.",
    ]
    for file in sorted(folder.glob("results-*.json")):
        parts += _section(json.loads(file.read_text()), folder)
    return "\n\n".join(parts) + "\n"


def _section(saved: dict[str, Any], folder: Path) -> list[str]:
    device, entries = saved["device"], saved["results"]
    report = next((entry["report"] for entry in entries if "report" in entry), None)
    parts = [f"## On {device}", f"`{saved['command']}`, {saved['seconds'] / 60:.1f} minutes."]
    if report is not None:
        machine = report["machine"]
        hardware = [machine["processor"], f"{machine['cores']} cores", f"torch threads: {machine['threads']}"]
        hardware += [machine["accelerator"]] if machine["accelerator"] else []
        versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
        parts.append(f"{', '.join(hardware)}; {versions}.")
    for entry in entries:
        text = markdown(entry["report"]) if "report" in entry else f"Not measured: {entry['missing']}."
        parts += [f"### {TITLES[entry['name']]}", f"`{entry['command']}`", text]
    if (folder / f"growth-{device}.svg").exists():
        parts.append(f"![What credit takes as the work grows, and its floor](growth-{device}.svg)")
    return parts


def markdown(report: dict[str, Any]) -> str:
    """The tables of a report, each below its title."""
    parts = []
    for title, header, rows in tables_of(report):
        lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
        parts.append("\n".join([title, "", *("| " + " | ".join(line) + " |" for line in lines)]))
    return "\n\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--model", help="a folder or name for the GSM8K job; default: the bundled policy")
    parser.add_argument("--gsm8k", type=Path, help="JSON lines with `question` and `answer`; without it no GSM8K job")
    parser.add_argument("--minutes", type=float, help="most time for all jobs; default: 8 on cuda, no limit on cpu")
    parser.add_argument("--only", nargs="+", choices=TITLES, help="these jobs alone; the others keep their results")
    parser.add_argument("--quick", action="store_true", help="small sizes, one round: to see that everything works")
    parser.add_argument("--folder", type=Path, default=HERE, help="where results are written; default: here")
    given = parser.parse_args()
    if given.gsm8k is not None and not given.gsm8k.is_file():
        parser.error(f"--gsm8k is {given.gsm8k}; expected a file")
    minutes = given.minutes or (CUDA_MINUTES if given.device == "cuda" else None)
    started = time.monotonic()
    file = given.folder / f"results-{given.device}.json"
    earlier: dict[str, Any] = {"results": [], "seconds": 0.0}
    if given.only and file.exists():
        earlier = json.loads(file.read_text())
    results: list[dict[str, Any]] = [entry for entry in earlier["results"] if entry["name"] not in given.only]
    command = "python benchmarks/run.py " + shlex.join(_named(sys.argv[1:]))
    if "command" in earlier:
        command = f"{earlier['command']}, then {command}"
    saved = {"device": given.device, "command": command}
    for job in jobs(given.device, given.model, given.gsm8k, given.quick):
        if given.only and job.name not in given.only:
            continue
        left = None if minutes is None else minutes * 60 - (time.monotonic() - started)
        found = {"missing": "no time was left"} if left is not None and left < 1 else run(job, left)
        results.append({"name": job.name, "command": job.command, **found})
        results.sort(key=lambda entry: list(TITLES).index(entry["name"]))
        elapsed = time.monotonic() - started
        print(f"{elapsed:6.0f} s  {job.name}: {found.get('missing', 'measured')}", flush=True)
        given.folder.mkdir(parents=True, exist_ok=True)
        file.write_text(
            json.dumps({**saved, "seconds": earlier["seconds"] + elapsed, "results": results}, indent=1) + "\n"
        )
        plot(results, given.folder / f"growth-{given.device}.svg")
        (given.folder / "RESULTS.md").write_text(render(given.folder))


def _named(arguments: list[str]) -> list[str]:
    """Paths by their last part: the folders of this machine say nothing to a reader."""
    return [Path(argument).name if "/" in argument else argument for argument in arguments]


if __name__ == "__main__":
    main()
