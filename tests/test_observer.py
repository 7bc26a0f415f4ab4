"""What the observer sees of several ranks: everything, in their order, on the main process and nowhere else."""

import json

import pytest
from processes import run_ranks

from spancredit.training.batch import on_main


def test_in_one_process_nothing_is_gathered():
    mine = [1, 2]
    assert on_main(mine, None) is mine


@pytest.mark.slow
def test_the_main_process_gets_what_all_ranks_have_in_their_order_and_the_others_nothing(tmp_path):
    run_ranks("observing_on_ranks.py", tmp_path)
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    assert first == [["0: 0", "0: 1", "1: 0", "1: 1", "1: 2"], ["1: 0"]]
    assert second == [[], []]
