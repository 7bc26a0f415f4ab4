"""Credit of programs: where spans stand in the program that is run, what a probe asks, and what either is worth."""

from itertools import islice

import pytest
import torch
from toy_models import tiny

import spancredit as sc
from spancredit.errors import DataError
from spancredit.sandbox import Call
from spancredit.tasks.code import CodeProblem, Reward
from spancredit.tasks.code.extract import extract
from spancredit.tasks.code.functions import problems
from spancredit.tasks.code.outcome import CPU_SECONDS, call_probes, execution_credit

PROMPT = 'def total(xs):\n    """Sum what is not negative."""\n'
BODY = """    result = 0
    unused = 1
    for x in xs:
        if x < 0:
            continue
        result += x
    return result
"""
PROBLEM = CodeProblem(
    name="total",
    prompt=PROMPT,
    entry_point="total",
    canonical=BODY,
    calls=(Call(([1, 2],)), Call(([],)), Call(([-1, 4],)), Call(([5],))),
    expected=(3, 0, 4, 5),
)
CONFIG = sc.CreditConfig(segmenter="python")
ROW = {"answer": "total"}


@pytest.fixture(scope="module")
def reward():
    return Reward([PROBLEM])


def rollout(tokenizer, text, advantage=1.0):
    ids = [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    return sc.Rollout(tokenizer(PROMPT)["input_ids"], ids, advantage=advantage)


def drops(credit):
    return {span.text.strip(): span.drop for span in credit.spans}


@pytest.mark.parametrize(
    "completion",
    [
        BODY,
        BODY.removeprefix("    "),
        f"Here it is.\n```python\n{PROMPT}{BODY}```\nIt sums.",
        f"```python\nimport math\n\n{PROMPT}{BODY}\nprint(total([1]))\n```",
        f"<think>perhaps\n{BODY}</think>\n{PROMPT}{BODY}",
        f"from __future__ import annotations\n{PROMPT}{BODY}",
    ],
)
def test_every_character_of_the_program_is_found_where_it_stands_in_the_completion(completion):
    found = extract(completion, PROBLEM)
    own = completion[found.found : found.found + found.size]
    assert own
    assert found.program[found.begins :].startswith(own)
    at = completion.rindex("result += x")
    first, last = found.place_of(at, at + len("result += x"))
    assert found.program[first:last] == "result += x"
    assert found.place_of(0, found.found) == (found.begins, found.begins), "prose is no part of the program"


def test_of_a_text_that_stands_twice_the_one_that_is_run_is_found(policy, reward):
    tokenizer = policy[1]
    twice = BODY + "\ndef other(xs):\n" + BODY
    found = extract(twice, PROBLEM)
    assert (found.found, found.size) == (0, len(BODY.rstrip()))
    (credit,) = execution_credit(reward, tokenizer)([rollout(tokenizer, twice)], [ROW], CONFIG)
    first, second = ([s for s in credit.spans if s.text.strip() == "return result"][k] for k in (0, -1))
    assert (first.drop, second.drop) == (1.0, 0.0)
    again = extract(" return x\n\n# so we return x and are done", PROBLEM)
    assert again.found == 1
    thought = extract(f"<think>\n{PROMPT}{BODY}</think>\n{PROMPT}{BODY}", PROBLEM)
    assert thought.found > len(PROMPT + BODY)


@pytest.mark.parametrize("lead", ["# Solution\n", '"""Sums."""\n'])
def test_what_stands_before_an_import_from_the_future_does_not_hide_the_program(lead):
    completion = f"```python\n{lead}from __future__ import annotations\n{PROMPT}{BODY}```"
    found = extract(completion, PROBLEM)
    assert completion[found.found :][: found.size] == (PROMPT + BODY).rstrip()
    assert found.program.startswith("from __future__")


def test_a_program_that_is_written_otherwise_than_it_is_run_has_no_place():
    assert extract(BODY.replace("\n", "\r\n"), PROBLEM).size == 0


def test_what_a_statement_is_worth_is_the_share_of_tests_that_need_it(policy, reward):
    tokenizer = policy[1]
    (credit,) = execution_credit(reward, tokenizer)([rollout(tokenizer, BODY)], [ROW], CONFIG)
    assert credit.method == "execution"
    assert drops(credit) == {
        "result = 0": 1.0,
        "unused = 1": 0.0,
        "for x in xs:": 1.0,  # its body runs once, and there is no x
        "if x < 0:": 0.75,
        "continue": 0.25,
        "result += x": 0.75,
        "return result": 1.0,
    }
    assert credit.cost.runs == 8
    weights = {span.text.strip(): span.weight for span in credit.spans}
    assert weights["return result"] > weights["continue"] > weights["unused = 1"]
    assert credit.token_weights.mean().item() == pytest.approx(1.0)


def test_in_a_failing_program_the_blame_is_on_what_keeps_tests_from_passing(policy, reward):
    tokenizer = policy[1]
    wrong = BODY.replace("    return result", "    result += 10\n    return result")
    (credit,) = execution_credit(reward, tokenizer)([rollout(tokenizer, wrong, advantage=-1.0)], [ROW], CONFIG)
    importance = {span.text.strip(): span.importance for span in credit.spans}
    assert importance.pop("result += 10") == 1.0
    assert not any(importance.values())
    (inverted,) = execution_credit(reward, tokenizer)(
        [rollout(tokenizer, wrong, advantage=-1.0)], [ROW], sc.CreditConfig(segmenter="python", mode="inverted")
    )
    blamed = next(span for span in inverted.spans if span.text.strip() == "result += 10")
    assert blamed.weight == min(span.weight for span in inverted.spans)


def test_exchanged_for_what_others_wrote_there_the_slip_alone_counts_in_right_and_wrong(policy, reward):
    tokenizer = policy[1]
    slip = BODY.replace("x < 0", "x <= 1")
    rollouts = [rollout(tokenizer, BODY), rollout(tokenizer, slip, advantage=-1.0)]
    right, wrong = execution_credit(reward, tokenizer, exchange=True)(rollouts, [ROW] * 2, CONFIG)
    for credit in (right, wrong):
        importance = {span.text.strip(): span.importance for span in credit.spans}
        (header,) = [text for text in importance if text.startswith("if x")]
        assert importance.pop(header) == 1.0
        assert not any(importance.values())
    assert drops(right)["if x < 0:"] == -drops(wrong)["if x <= 1:"] == 0.25


def test_one_without_an_advantage_is_a_partner_and_one_that_is_masked_is_not_run(policy, reward):
    tokenizer = policy[1]
    slip, half = BODY.replace("x < 0", "x <= 1"), BODY.replace("x < 0", "x <= 4")
    rollouts = [rollout(tokenizer, BODY), rollout(tokenizer, slip, advantage=0.0), rollout(tokenizer, half, -1.0)]
    right, middle, _ = execution_credit(reward, tokenizer, exchange=True)(rollouts, [ROW] * 3, CONFIG)
    assert drops(right)["if x < 0:"] == pytest.approx((0.25 + 0.5) / 2)
    assert middle.reason == "zero_advantage"
    ids = rollouts[0].completion_ids
    masked = sc.Rollout(rollouts[0].prompt_ids, ids, advantage=1.0, loss_mask=[0] * len(ids))
    (credit,) = execution_credit(reward, tokenizer)([masked], [ROW], CONFIG)
    assert (credit.cost.runs, credit.reason) == (0, "no_loss_token")


def test_a_small_drop_does_not_weigh_like_a_large_one(policy):
    tokenizer = policy[1]
    calls = tuple(Call((n,)) for n in range(40))
    body = "    if x == 7:\n        return -1\n    return x\n"
    problem = CodeProblem("rare", "def f(x):\n", "f", body, calls, (*range(7), -1, *range(8, 40)))
    one = sc.Rollout([1], tokenizer(body)["input_ids"], advantage=1.0)
    (credit,) = execution_credit(Reward([problem]), tokenizer)([one], [{"answer": "rare"}], CONFIG)
    importance = {span.text.strip(): span.importance for span in credit.spans}
    assert importance["return x"] == 1.0
    assert importance["return -1"] == pytest.approx(1 / 39)
    (alone,) = sc.credit_from_drops([one], [[(0, 3), (3, 6)]], [[1 / 40, 0.0]], full_scale=0.25)
    assert alone.spans[0].importance == pytest.approx(0.1)


def test_statements_are_spans_whatever_the_segmenter(policy, reward):
    tokenizer = policy[1]
    func = execution_credit(reward, tokenizer)
    (credit,) = func([rollout(tokenizer, BODY)], [ROW], sc.CreditConfig(segmenter="steps"))
    assert {span.kind.partition(":")[0] for span in credit.spans} == {"code"}


def test_a_row_without_a_name_and_no_time_are_one_sentence(policy, reward):
    tokenizer = policy[1]
    with pytest.raises(DataError, match=r"has the columns \['question'\]; expected answer, the problem's name"):
        execution_credit(reward, tokenizer)([rollout(tokenizer, BODY)], [{"question": "?"}], CONFIG)
    with pytest.raises(sc.ConfigError, match="cpu_seconds is 0; expected a number above 0"):
        execution_credit(reward, tokenizer, cpu_seconds=0)


def test_prose_around_the_program_has_no_drop_and_no_program_has_a_reason(policy, reward):
    tokenizer = policy[1]
    fenced = f"I add them up.\n```python\n{PROMPT}{BODY}```\n"
    prose, lost, idle = execution_credit(reward, tokenizer)(
        [
            rollout(tokenizer, fenced),
            rollout(tokenizer, BODY.replace("\n", "\r\n")),
            rollout(tokenizer, BODY, advantage=0.0),
        ],
        [ROW] * 3,
        CONFIG,
    )
    assert drops(prose)["I add them up."] == 0.0
    assert drops(prose)["return result"] == 1.0
    assert (lost.reason, idle.reason) == ("no_program", "zero_advantage")
    assert idle.cost.runs == 0


def test_what_was_run_once_is_known_the_next_time(policy, reward):
    tokenizer = policy[1]
    credit_func = execution_credit(reward, tokenizer)
    first, again = credit_func([rollout(tokenizer, BODY), rollout(tokenizer, BODY)], [ROW] * 2, CONFIG)
    (later,) = credit_func([rollout(tokenizer, BODY.replace("0\n", "0  # at first\n", 1))], [ROW], CONFIG)
    assert (first.cost.runs, again.cost.runs, later.cost.runs) == (8, 0, 0)
    assert list(drops(first).values()) == list(drops(again).values()) == list(drops(later).values())


def test_a_variant_that_no_longer_ends_costs_a_moment_and_fails(policy):
    prompt = "def steps(n):\n"
    body = "    count = 0\n    while n > 0:\n        n -= 1\n        count += 1\n    return count\n"
    problem = CodeProblem("steps", prompt, "steps", body, (Call((3,)), Call((0,))), (3, 0))
    tokenizer = policy[1]
    one = sc.Rollout(tokenizer(prompt)["input_ids"], tokenizer(body)["input_ids"], advantage=1.0)
    taken = []
    reward = Reward([problem])
    passed = reward.passed

    def noting(names, programs, cpu_seconds):
        taken.append(cpu_seconds)
        return passed(names, programs, cpu_seconds)

    reward.passed = noting
    (credit,) = execution_credit(reward, tokenizer)([one], [{"answer": "steps"}], CONFIG)
    assert drops(credit)["n -= 1"] == 1.0
    assert taken == [CPU_SECONDS]


def test_a_probe_asks_for_a_call_that_no_example_shows(policy):
    tokenizer = policy[1]
    known = list(islice(problems("held_out", 0), 40))
    probes = call_probes(Reward(known), tokenizer)([None] * 40, [one.row() for one in known])
    for problem, probe in zip(known, probes, strict=True):
        assert probe is not None
        asked, value = tokenizer.decode(probe.suffix_ids), tokenizer.decode(probe.value_ids)
        assert asked.startswith(f"\n>>> {problem.entry_point}(")
        assert asked.strip() not in problem.prompt
        module = {}
        exec(problem.prompt + problem.canonical, module)  # noqa: S102
        assert repr(eval(asked.strip().removeprefix(">>> "), module)) == value  # noqa: S307


def test_a_problem_whose_values_are_all_long_has_no_probe(policy):
    long = CodeProblem("long", "def f(n):\n", "f", "    return 'x' * n\n", (Call((90,)),), ("x" * 90,))
    assert call_probes(Reward([long]), policy[1])([None], [{"answer": "long"}]) == [None]


def test_a_probe_in_a_wrong_completion_blames_what_stands_against_the_value():
    model = tiny("llama")
    given = dict(prompt_ids=[1, 2], completion_ids=[3, 4, 5, 6, 7, 8], probe=sc.Probe([9], [2, 3]))
    config = sc.CreditConfig(scorer="sequential", noise_floor=0.0)
    ranges = [[(0, 2), (2, 4), (4, 6)]]
    right, wrong = (
        sc.assign_credit(model, None, [sc.Rollout(**given, advantage=advantage)], config, spans=ranges)[0]
        for advantage in (1.0, -1.0)
    )
    for good, bad in zip(right.spans, wrong.spans, strict=True):
        assert good.drop == bad.drop, "what was measured is the same"
        assert (good.importance > 0) == (good.drop > 0)
        assert (bad.importance > 0) == (bad.drop < 0)
    assert any(span.drop > 0 for span in right.spans)
    assert any(span.drop < 0 for span in right.spans)
    assert not torch.equal(right.token_weights, wrong.token_weights)
