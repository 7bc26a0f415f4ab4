"""The pace of training: what a budget is a share of, and what of a run is none of it."""

import copy
from itertools import islice

import pytest
from datasets import Dataset
from toy_models import TRAINER
from transformers import TrainerCallback

from spancredit.credit import assign_credit
from spancredit.tasks.wordproblems import problems
from spancredit.training import phases, trl
from spancredit.training.pace import Pace

ROWS = Dataset.from_list([problem.row() for problem in islice(problems("train", 0), 32)])


def test_the_pace_gives_the_tokens_that_the_share_of_a_round_pays_for():
    pace = Pace()
    assert pace.allowance(0.1) is None
    pace.scored(10.0, 12.0, tokens=1000)  # the first scoring warms up
    assert pace.allowance(0.1) is None
    pace.scored(30.0, 31.0, tokens=1000)  # 18 s of the rest, 1 ms a token
    assert pace.allowance(0.1) == pytest.approx(18 / 9 / 0.001)
    pace.scored(40.0, 40.0, tokens=0)
    assert pace.allowance(0.5) == pytest.approx((18 + 9) / 2 / 0.001)


def test_the_pace_leaves_out_what_is_no_training():
    pace = Pace()
    pace.resume(0.0)  # before anything was paused
    pace.scored(10.0, 12.0, tokens=1000)
    pace.pause(13.0)
    pace.resume(20.0)
    pace.pause(22.0)
    pace.resume(25.0)
    pace.scored(30.0, 31.0, tokens=1000)  # 18 s, of which 7 and 3 aside
    assert pace.allowance(0.1) == pytest.approx(8 / 9 / 0.001)
    pace.scored(41.0, 41.0, tokens=0)  # what was aside is so once
    assert pace.allowance(0.5) == pytest.approx((8 + 10) / 2 / 0.001)


class Clock(TrainerCallback):
    """Time that passes where a test says so."""

    now = 0.0

    def perf_counter(self):
        return self.now

    def takes(self, seconds):
        self.now += seconds

    def on_step_end(self, *_, **__):
        self.takes(1000)  # as the accuracy that `spancredit train` measures

    def on_log(self, *_, **__):
        self.takes(10_000)

    def on_evaluate(self, *_, **__):
        self.takes(100_000)

    def on_save(self, *_, **__):
        self.takes(1_000_000)


@pytest.mark.slow
@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_budget_is_a_share_of_training_and_not_of_evaluations_and_checkpoints(
    policy, tmp_path, monkeypatch, accumulation
):
    clock = Clock()

    def rewards(completions, **_):
        clock.takes(3)
        return [float(i % 2) for i in range(len(completions))]

    def scored(*given, **named):
        clock.takes(2)
        return assign_credit(*given, **named)

    for module in (trl, phases):
        monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(trl, "assign_credit", scored)
    model, tokenizer = policy
    settings = TRAINER | dict(
        output_dir=str(tmp_path),
        max_steps=3,
        num_generations=4,
        max_completion_length=24,
        gradient_accumulation_steps=accumulation,
        per_device_train_batch_size=16 // accumulation,
        per_device_eval_batch_size=4,
        credit_budget=0.1,
        logging_steps=1,
        eval_strategy="steps",
        eval_steps=1,
        save_strategy="steps",
        save_steps=1,
    )
    trainer = trl.CreditGRPOTrainer(
        copy.deepcopy(model),
        rewards,
        trl.CreditGRPOConfig(**settings),
        train_dataset=ROWS,
        eval_dataset=ROWS.select(range(4)),
        processing_class=tokenizer,
        callbacks=[clock],
    )
    trainer.train()
    assert clock.now > 3_000_000
    assert list(trainer._pace._rest) == [3.0, 3.0]
