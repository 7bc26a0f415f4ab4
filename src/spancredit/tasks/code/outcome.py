"""The outcome of a program, for credit: what its tests say without a stretch of it, or a call that the policy answers.

Both are what `CreditGRPOTrainer` takes: functions of rollouts and of the dataset's rows that they come from.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from transformers import PreTrainedTokenizerBase

from spancredit.config import CreditConfig
from spancredit.crediting import credit_from_drops
from spancredit.errors import ConfigError, DataError
from spancredit.execution.drops import Passed, Program, exchange_drops, execution_drops
from spancredit.sandbox import Call
from spancredit.tasks.code.extract import extract
from spancredit.tasks.code.functions import EXAMPLES
from spancredit.tasks.code.problem import CodeProblem
from spancredit.tasks.code.reward import Reward
from spancredit.text.align import align, said
from spancredit.text.segment import segment
from spancredit.types import Cost, Credit, Probe, Rollout, Span

Row = dict[str, Any]
CPU_SECONDS = 0.25  # of a variant: one that lost its way out of a loop is worth no more
FULL_SCALE = 0.25  # of the tests: a drop of less is no full importance, however small the others are
KNOWN = 20_000  # programs whose tests are remembered
LONGEST_VALUE = 12  # characters of a value that is asked for


def execution_credit(
    reward: Reward, tokenizer: PreTrainedTokenizerBase, *, exchange: bool = False, cpu_seconds: float = CPU_SECONDS
) -> Callable[[Sequence[Rollout], Sequence[Row], CreditConfig], list[Credit]]:
    """Credit by execution: each statement is taken out of its program, and the drop is in the share of tests that pass.

    Spans are statements, whatever segmenter the configuration names.

    Args:
        reward: Knows the problems, whose names are the rows' `answer`, and where programs run.
        exchange: Whether a statement is exchanged instead, for what the other completions of its problem have in its
            place: as far as they are in one call, so a group should not be split over ranks.
        cpu_seconds: Processor time of a program with all its calls; calls that are not answered in it fail.

    Returns:
        A `credit_func` of `CreditGRPOTrainer`. It raises what `Reward` raises, and DataError if a row has no `answer`.

    Raises:
        ConfigError: if `cpu_seconds` is no positive number.
    """
    if not cpu_seconds > 0:
        raise ConfigError(f"cpu_seconds is {cpu_seconds}; expected a number above 0.")
    known: dict[tuple[Any, str], Passed] = {}

    def run(pairs: Sequence[tuple[Any, str]]) -> list[tuple[Passed, bool]]:
        return reward.passed([name for name, _ in pairs], [program for _, program in pairs], cpu_seconds)

    def credits(rollouts: Sequence[Rollout], rows: Sequence[Row], config: CreditConfig) -> list[Credit]:
        if len(known) > KNOWN:
            known.clear()
        by_statement = replace(config, segmenter="python")
        found = [
            _located(rollout, _name(row), reward, tokenizer, by_statement)
            if exchange or _counts(rollout, config)
            else _Located([], None)
            for rollout, row in zip(rollouts, rows, strict=True)
        ]
        asked = [i for i, one in enumerate(found) if one.program is not None and _counts(rollouts[i], config)]
        programs = [program for i in asked if (program := found[i].program) is not None]
        if exchange:
            others = [one.program for i, one in enumerate(found) if one.program is not None and i not in asked]
            executed = exchange_drops(programs, run, known, others)
        else:
            executed = execution_drops(programs, run, known)
        measured = dict(zip(asked, executed, strict=True))
        return credit_from_drops(
            rollouts,
            [one.spans for one in found],
            [measured[i].drops_K if i in measured else None for i in range(len(rollouts))],
            by_statement,
            costs=[Cost(runs=measured[i].runs if i in measured else 0) for i in range(len(rollouts))],
            method="exchange" if exchange else "execution",
            full_scale=FULL_SCALE,
        )

    return credits


@dataclass(frozen=True)
class _Located:
    """The spans of a completion, and its program with the same stretches, if there is one that can be located."""

    spans: list[Span]
    program: Program | None


def _located(
    rollout: Rollout, name: str, reward: Reward, tokenizer: PreTrainedTokenizerBase, config: CreditConfig
) -> _Located:
    size = said(tokenizer, rollout.completion_ids)
    aligned = align(tokenizer, rollout.completion_ids[:size])
    spans = segment(aligned, len(aligned.plain), config, size) if size else []
    found = extract(aligned.text, reward.problem(name))
    if not found.size:
        return _Located(spans, None)
    ranges = [(aligned.starts[span.start], aligned.ends[span.end - 1]) for span in spans]
    return _Located(spans, Program(name, found.program, tuple(found.place_of(*one) for one in ranges)))


def _counts(rollout: Rollout, config: CreditConfig) -> bool:
    """Whether the weights of a rollout could matter."""
    masked = rollout.loss_mask is not None and not any(rollout.loss_mask)
    return config.mode != "uniform" and rollout.advantage != 0 and not masked


def _name(row: Row) -> str:
    if "answer" not in row:
        raise DataError(f"a row of the dataset has the columns {sorted(row)}; expected answer, the problem's name.")
    return str(row["answer"])


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
            return Probe(ids(f"\n{typed(problem, call)}"), ids(value))
        return None

    def probes(rollouts: Sequence[Rollout], rows: Sequence[Row]) -> list[Probe | None]:
        found = {name: probe(name) for name in {_name(row) for row in rows}}
        return [found[_name(row)] for row in rows]

    return probes


def typed(problem: CodeProblem, call: Call) -> str:
    """The call as one types it into an interpreter."""
    return f">>> {problem.entry_point}({', '.join(map(repr, call.args))})\n"
