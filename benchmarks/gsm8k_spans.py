"""Do the spans called calculations hold the equations of GSM8K, and nothing else?

    python benchmarks/gsm8k_spans.py ../shared/data/gsm8k/train.jsonl [MORE.jsonl ...] [--out FILE] [--show N]

The calculator marks are taken out, where the equation around each lies in the clean text is remembered
(`gsm8k_marks.py`), and the default segmenter cuts the clean text. A mark whose text is no equation is counted, and not
scored. Marks are incomplete: solutions also have equations without one. So precision against the marks is a lower
bound, and what else was called a calculation is checked by working it out, exactly.
"""

import argparse
import json
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gsm8k_marks import EQUALS, Marked, read_marks, worked_out
from segment_speed import PATTERNS, seconds

from spancredit.text.segment import steps

SENTENCE = re.compile(r"(?:(?!(?<=[.!?])\s+[A-Z]|\n).)+", re.DOTALL)
SIGN = re.compile(r"[=+*×÷^/≈]|\bequals\b|[\d)%]\s?[-−–xX]\s?[\d$(.]|\s[-−–xX]\s")
VERDICTS = {True: "true", False: "false", None: "other equation"}
SIZE = 100_000  # characters of each adversarial text
Ranges = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Counts:
    """What was counted over the solutions of a file, and examples of what is worth reading."""

    totals: Counter[str]
    examples: dict[str, list[str]]


def count(solutions: Sequence[str]) -> Counts:
    totals: Counter[str] = Counter()
    examples: dict[str, list[str]] = defaultdict(list)
    for solution in solutions:
        text, marks = read_marks(solution)
        pieces = steps(text)
        totals["solutions"] += 1
        totals["tile"] += [0, *(end for _, end, _ in pieces)] == [*(start for start, _, _ in pieces), len(text)]
        found = [(start, end) for start, end, kind in pieces if kind == "calculation"]
        for name, example in [
            *_marks_found(text, marks, found),
            *_spans_judged(text, marks, found),
            *_prose_judged(text, marks, found),
        ]:
            totals[name] += 1
            examples[name].append(example)
        totals.update(_characters(text, marks, found))
    return Counts(totals, examples)


def _marks_found(text: str, marks: Sequence[Marked], found: Ranges) -> Iterator[tuple[str, str]]:
    for mark in marks:
        inside = any(start <= mark.start and mark.end <= end for start, end in found)
        yield f"mark, {mark.form}, {'found' if inside else 'missed'}", _in_line(text, mark.start, mark.end, mark.mark)


def _spans_judged(text: str, marks: Sequence[Marked], found: Ranges) -> Iterator[tuple[str, str]]:
    """What each calculation is: marked, or else by its own text."""
    for start, end in found:
        piece = text[start:end]
        if any(start < mark.end and mark.start < end for mark in marks if mark.form != "no equation"):
            kind = "marked"
        elif EQUALS.search(piece):
            kind = f"unmarked, {VERDICTS[worked_out(piece)]}"
        else:
            kind = "no equals sign"
        yield f"span, {kind}", _in_line(text, start, end, "")


def _prose_judged(text: str, marks: Sequence[Marked], found: Ranges) -> Iterator[tuple[str, str]]:
    """Sentences without a mark and without a sign of arithmetic."""
    for sentence in SENTENCE.finditer(text):
        start, end = sentence.span()
        prose, marked = sentence.group(), any(start < mark.end and mark.start < end for mark in marks)
        if marked or SIGN.search(prose) or not any(map(str.isalnum, prose)):
            continue
        called = any(start < last and first < end for first, last in found)
        yield f"prose, {'called a calculation' if called else 'text'}", sentence.group()


def _characters(text: str, marks: Sequence[Marked], found: Ranges) -> Counter[str]:
    """Letters and digits in marked equations, in calculations, in those that touch a marked one, and in both."""
    marks = [mark for mark in marks if mark.form != "no equation"]
    marked = {i for mark in marks for i in range(mark.start, mark.end)}
    called = {i for start, end in found for i in range(start, end)}
    touching = {
        i
        for start, end in found
        if any(start < mark.end and mark.start < end for mark in marks)
        for i in range(start, end)
    }
    sets = {"marked": marked, "called": called, "touching": touching, "both": marked & called}
    return Counter({f"characters, {name}": sum(text[i].isalnum() for i in some) for name, some in sets.items()})


def _in_line(text: str, start: int, end: int, note: str) -> str:
    before = text[text.rfind("\n", 0, start) + 1 : start]
    return f"{before}[{text[start:end]}]{text[end:].partition(chr(10))[0]}" + (f"   <<{note}>>" if note else "")


def read_solutions(path: Path) -> list[str]:
    """The solutions of a file of GSM8K's form, marks included, without the line of the answer."""
    rows = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    return [row["answer"].rpartition("\n####")[0] for row in rows]


def summary(totals: Counter[str]) -> dict[str, Any]:
    """Recall and precision as shares, beside the counts they are made of."""

    def share(part: int, whole: int) -> float:
        return part / whole if whole else float("nan")

    scored = ("mark, as written", "mark, rewritten")
    found, missed = (sum(totals[f"{form}, {what}"] for form in scored) for what in ("found", "missed"))
    spans = sum(number for name, number in totals.items() if name.startswith("span, "))
    return {
        "recall, equations": share(found, found + missed),
        "recall, characters": share(totals["characters, both"], totals["characters, marked"]),
        "precision, spans, marked": share(totals["span, marked"], spans),
        "precision, spans, any equation": share(spans - totals["span, no equals sign"], spans),
        "precision, characters, marked": share(totals["characters, both"], totals["characters, called"]),
        "precision, characters, in marked spans": share(totals["characters, both"], totals["characters, touching"]),
        "counts": dict(sorted(totals.items())),
    }


ROWS = (
    ("solutions", ("solutions",)),
    ("of them cut into spans that tile", ("tile",)),
    ("marks as written: found", ("mark, as written, found",)),
    ("marks as written: missed", ("mark, as written, missed",)),
    ("marks rewritten: found", ("mark, rewritten, found",)),
    ("marks rewritten: missed", ("mark, rewritten, missed",)),
    ("marks whose text is no equation", ("mark, no equation, found", "mark, no equation, missed")),
    ("calculations that hold a marked equation", ("span, marked",)),
    ("unmarked, true when worked out", ("span, unmarked, true",)),
    ("unmarked, algebra and what cannot be worked out", ("span, unmarked, other equation",)),
    ("unmarked, not true as it stands", ("span, unmarked, false",)),
    ("no equals sign", ("span, no equals sign",)),
    ("sentences without arithmetic: text", ("prose, text",)),
    ("sentences without arithmetic: called a calculation", ("prose, called a calculation",)),
)


def table(summaries: dict[str, dict[str, Any]]) -> str:
    """Markdown: one column a file."""
    lines = [f"| | {' | '.join(summaries)} |", "|---" * (len(summaries) + 1) + "|"]
    for name, keys in ROWS:
        cells = [f"{sum(one['counts'].get(key, 0) for key in keys):,}" for one in summaries.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    for name in next(iter(summaries.values())):
        if name != "counts":
            lines.append(f"| {name} | {' | '.join(f'{one[name]:.2%}' for one in summaries.values())} |")
    return "\n".join(lines)


def show(counts: Counts, most: int) -> None:
    """Examples of what a reader should judge, drawn at random."""
    for name, examples in counts.examples.items():
        if not name.endswith(("found", "marked", "true", "text")):
            print(f"\n{name}: {len(examples)}")
            for example in random.Random(0).sample(examples, min(most, len(examples))):
                print("   ", example.replace("\n", "\\n"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("gsm8k-spans.json"))
    parser.add_argument("--show", type=int, default=0, metavar="N", help="examples of each kind of miss")
    args = parser.parse_args()
    counted = {path.name: count(read_solutions(path)) for path in args.files}
    summaries = {name: summary(counts.totals) for name, counts in counted.items()}
    speed = {name: seconds(name, SIZE) for name in PATTERNS}
    print(table(summaries))
    slowest = max(speed, key=lambda name: speed[name]["steps"])
    most = speed[slowest]["steps"]
    print(f"\n{SIZE:,} adversarial characters: at most {most:.2f} CPU seconds ({slowest}), segmenter steps.")
    for counts in counted.values() if args.show else ():
        show(counts, args.show)
    args.out.write_text(json.dumps({"files": summaries, "cpu_seconds": speed}, indent=1) + "\n")


if __name__ == "__main__":
    main()
