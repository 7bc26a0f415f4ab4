"""The outcome of a program, for credit: what its tests say without a stretch of it, or a call that the policy answers.

Both are what `CreditGRPOTrainer` takes: functions of rollouts and of the dataset's rows that they come from.
"""

from collections.abc import Callable, Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from spancredit.config import CreditConfig
from spancredit.crediting import credit_from_drops
from spancredit.execution.drops import Passed, Program, exchange_drops, execution_drops
from spancredit.tasks.code.extract import Extracted, extract
from spancredit.tasks.code.functions import EXAMPLES
from spancredit.tasks.code.reward import Reward
from spancredit.text.align import align
from spancredit.text.locate import locate_all
from spancredit.types import Cost, Credit, Probe, Rollout, Span

Row = dict[str, Any]
CPU_SECONDS = 0.25  # of a variant: one that lost its way out of a loop is worth no more
KNOWN = 20_000  # programs whose tests are remembered
LONGEST_VALUE = 24  # characters of a value that is asked for


def execution_credit(
    reward: Reward, tokenizer: PreTrainedTokenizerBase, *, exchange: bool = False, cpu_seconds: float = CPU_SECONDS
) -> Callable[[Sequence[Rollout], Sequence[Row], CreditConfig], list[Credit]]:
    """Credit by execution: each span is taken out of its program, and the drop is in the share of tests that pass.

    Args:
        exchange: Whether a span is exchanged instead, for what the other completions of its problem have in its place.
        reward: Knows the problems, whose names are the rows' `answer`, and where programs run.
        cpu_seconds: Processor time of a program with all its calls; calls that are not answered in it fail.

    Returns:
        A `credit_func` of `CreditGRPOTrainer`. It raises what `Reward` raises.
    """
    measure = exchange_drops if exchange else execution_drops
    known: dict[tuple[Any, str], Passed] = {}

    def run(pairs: Sequence[tuple[Any, str]]) -> list[Passed]:
        return reward.passed([name for name, _ in pairs], [program for _, program in pairs], cpu_seconds)

    def credits(rollouts: Sequence[Rollout], rows: Sequence[Row], config: CreditConfig) -> list[Credit]:
        if len(known) > KNOWN:
            known.clear()
        spans: list[list[Span]] = [[] for _ in rollouts]
        programs: dict[int, Program] = {}
        for i, (rollout, row) in enumerate(zip(rollouts, rows, strict=True)):
            if rollout.advantage == 0 or config.mode == "uniform":
                continue
            spans[i], said = locate_all(i, rollout, tokenizer, config)
            aligned = align(tokenizer, rollout.completion_ids[:said])
            found = extract(aligned.text, reward.problem(row["answer"]))
            if found.size:
                ranges = [(aligned.starts[span.start], aligned.ends[span.end - 1]) for span in spans[i]]
                programs[i] = _program(row["answer"], found, ranges)
        executed = dict(zip(programs, measure(list(programs.values()), run, known), strict=True))
        drops = [executed[i].drops_K if i in executed else None for i in range(len(rollouts))]
        costs = [Cost(runs=executed[i].runs if i in executed else 0) for i in range(len(rollouts))]
        return credit_from_drops(rollouts, spans, drops, config, costs=costs)

    return credits


def call_probes(
    reward: Reward, tokenizer: PreTrainedTokenizerBase
) -> Callable[[Sequence[Rollout], Sequence[Row]], list[Probe | None]]:
    """Probes that call the function behind its definition, as in an interpreter, and ask for the expected value.

    Of a problem's calls it is the first whose value is short and that no example shows, or else any short one.

    Returns:
        A `probe_func` of `CreditGRPOTrainer`. A problem without a short value has no probe.
    """

    def ids(text: str) -> list[int]:
        return list(tokenizer.encode(text, add_special_tokens=False))

    def probe(name: str) -> Probe | None:
        problem = reward.problem(name)
        short = [
            (call, repr(value))
            for call, value in zip(problem.calls, problem.expected or (), strict=True)
            if len(repr(value)) <= LONGEST_VALUE and not call.kwargs
        ]
        fresh = [one for one in short if one[0] not in problem.calls[:EXAMPLES]]
        for call, value in (fresh or short)[:1]:
            return Probe(ids(f"\n>>> {problem.entry_point}({', '.join(map(repr, call.args))})\n"), ids(value))
        return None

    def probes(rollouts: Sequence[Rollout], rows: Sequence[Row]) -> list[Probe | None]:
        found = {name: probe(name) for name in {row["answer"] for row in rows}}
        return [found[row["answer"]] for row in rows]

    return probes


def _program(name: str, found: Extracted, ranges: Sequence[tuple[int, int]]) -> Program:
    return Program(name, found.program, tuple(found.place_of(*one) for one in ranges))
