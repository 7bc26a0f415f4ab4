"""The embedded task: reproducible, disjoint, true step by step, and able to judge any completion."""

from itertools import islice

import pytest
import torch

import spancredit as sc
from spancredit.evaluation.accuracy import Exam, greedy_accuracy, sampled_accuracy
from spancredit.tasks.wordproblems import APPLY, DIFFICULTIES, final_answer, problems, reward


def draw(split="train", count=200, **named):
    return list(islice(problems(split, **named), count))


def test_the_same_seed_gives_the_same_problems_and_another_seed_others():
    assert draw(seed=3) == draw(seed=3)
    assert draw(seed=3) != draw(seed=4)


def test_no_training_question_is_held_out_whatever_the_seed():
    train = {problem.question for seed in range(3) for problem in draw(seed=seed, count=1000)}
    held_out = {problem.question for seed in range(3) for problem in draw("held_out", seed=seed, count=1000)}
    assert not train & held_out


@pytest.mark.parametrize("name", DIFFICULTIES)
def test_every_solution_is_true_and_earns_the_reward(name):
    difficulty = DIFFICULTIES[name]
    for problem in draw(difficulty=name, count=100):
        amount = problem.steps[0].left
        assert difficulty.steps[0] <= len(problem.steps) <= difficulty.steps[1]
        for step in problem.steps:
            assert step.left == amount
            assert step.op != "/" or step.left % step.right == 0
            amount = APPLY[step.op](step.left, step.right)
            assert step.result == amount
            assert max(step.left, step.right, amount) <= difficulty.max_amount
        assert problem.answer == amount
        assert reward([problem.solution], [str(problem.answer)]) == [1.0]
        assert f" {problem.steps[0].left} " in problem.question


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        (" x\n#### 12", "12"),
        ("#### 1 #### 12 ", "12"),
        ("no marker", None),
        ("####", ""),
        ("#### 12 apples", "12 apples"),
    ],
)
def test_the_final_answer_is_what_stands_after_the_last_marker(completion, answer):
    assert final_answer(completion) == answer


@pytest.mark.parametrize("completion", ["#### 13", "12", "", "#### 12 apples", "#### 012", "####12.0"])
def test_only_the_exact_answer_is_rewarded(completion):
    assert reward([completion, " #### 12"], ["12", "12"]) == [0.0, 1.0]


@pytest.mark.parametrize(("split", "difficulty"), [("test", "medium"), ("train", "medum")])
def test_unknown_names_are_refused(split, difficulty):
    with pytest.raises(sc.UnknownNameError, match="expected one of"):
        next(problems(split, difficulty=difficulty))


@pytest.mark.slow
def test_sampled_accuracy_is_the_same_each_time_and_leaves_the_random_state_alone(policy):
    model, tokenizer = policy
    exam = Exam(draw("held_out", count=40, difficulty="easy"), reward, max_new_tokens=48)
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    first = sampled_accuracy(model, tokenizer, exam)
    assert torch.equal(torch.rand(1), expected)
    assert sampled_accuracy(model, tokenizer, exam) == first
    other = [sampled_accuracy(model, tokenizer, exam, seed=seed).right for seed in range(1, 4)]
    assert len({first.right, *other}) > 1, "the seed decides what is sampled"
    cold = sampled_accuracy(model, tokenizer, exam, temperature=1e-4)
    assert abs(cold.right - greedy_accuracy(model, tokenizer, exam).right) <= 1
