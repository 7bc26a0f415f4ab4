"""A program of a user, as mypy reads it beside the wheel: py.typed is in it, and the public names have types."""

from typing import assert_type

import spancredit as sc


def last_drop(credits: list[sc.Credit]) -> float:
    for credit in credits:
        assert_type(credit.reason, str | None)
        assert_type(credit.spans, tuple[sc.SpanCredit, ...])
        assert_type(credit.answer, sc.Span | None)
    return credits[-1].spans[-1].drop


rollout = sc.Rollout(prompt_ids=[1, 2], completion_ids=[3, 4], advantage=1.0)
assert_type(rollout.advantage, float | None)
assert_type(sc.CreditConfig(boost=3.0).boost, float)
sc.CreditConfig(boost="much")  # type: ignore[arg-type]
sc.Rollout(prompt_ids="text", completion_ids=[3])  # type: ignore[arg-type]
last_drop([None])  # type: ignore[list-item]
