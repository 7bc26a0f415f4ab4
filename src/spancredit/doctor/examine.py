"""All findings that follow from the facts of a trial, the worst first."""

from spancredit.doctor.checks import answers, cost, credit, setup, signal
from spancredit.doctor.facts import Facts
from spancredit.doctor.finding import SEVERITIES, Finding


def examine(facts: Facts) -> dict[str, Finding | None]:
    """What every check says, by its name; None where it has nothing to say."""
    asked, some = facts.setup, facts.completions
    return {
        "rewards": signal.rewards(asked, some, facts.statuses),
        "groups": signal.groups(asked, some),
        "truncated": signal.truncated(asked, some),
        "answers": answers.answers(asked, some),
        "judge": answers.judge(asked, some),
        "answer_span": answers.answer_span(asked, some),
        "reasoning": answers.reasoning(asked, some),
        "uniform": credit.uniform(asked, some),
        "noise_floor": credit.noise_floor(asked, some),
        "flat": credit.flat(asked, some),
        "scorers": credit.scorers(asked, facts.comparison),
        "fallbacks": credit.fallbacks(asked, facts.cost),
        "dropout": setup.dropout(asked, facts.noise),
        "positions": setup.positions(asked),
        "pad_token": setup.pad_token(asked),
        "chat_template": setup.chat_template(asked),
        "sampling": setup.sampling(asked),
        "engine": setup.engine(asked),
        "round_trip": setup.round_trip(asked, some),
        "cost": cost.cost(asked, facts.cost),
        "memory": cost.memory(asked, facts.memory),
    }


def worst_first(findings: list[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda one: SEVERITIES.index(one.severity))
