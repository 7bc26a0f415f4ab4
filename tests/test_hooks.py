"""The examples of docs/hooks.md, as they stand there: in one process, and in two that share the work."""

import contextlib
import io
import re
from pathlib import Path

import pytest
import torch
from processes import run_ranks

import spancredit as sc

PAGE = Path(__file__).parents[1] / "docs" / "hooks.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def example():
    """What the first example leaves behind, and what it printed."""
    names, out = {}, io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(BLOCKS[0], str(PAGE), "exec"), names)  # noqa: S102 (the page's own code)
    return names, out.getvalue().splitlines()


def test_the_first_example_gives_the_credit_of_the_policy_itself(example):
    names, printed = example
    own = sc.assign_credit(names["model"], names["tokenizer"], names["rollouts"])
    assert [credit.reason for credit in own] == [None, None]
    for rollout, credit, asked, advantage_T in zip(
        names["rollouts"], own, names["credits"], names["advantages"], strict=True
    ):
        torch.testing.assert_close(asked.token_weights, credit.token_weights, atol=1e-4, rtol=0)
        torch.testing.assert_close(advantage_T, rollout.advantage * credit.token_weights, atol=1e-4, rtol=0)
        assert asked.token_weights.std() > 0.1
    assert len(printed) == 2
    assert "calculation" in printed[0]


@pytest.mark.slow
def test_the_second_example_shares_the_work_and_gives_the_same(example, tmp_path):
    names, _ = example
    script = tmp_path / "hooks.py"
    script.write_text("\n".join(BLOCKS), encoding="utf-8")
    output = run_ranks(script)
    found = {
        int(rank): (int(count), int(asked))
        for rank, count, asked in re.findall(r"rank (\d): (\d+) credits, \[(\d+)\] sequences", output)
    }
    rows = sum(1 + len(credit.spans) for credit in names["credits"])
    assert {rank: count for rank, (count, _) in found.items()} == {0: 2, 1: 0}
    assert found[0][1] == found[1][1] < rows
    assert output.count("as in one process: True") == 2


def test_the_page_has_two_examples():
    assert len(BLOCKS) == 2
