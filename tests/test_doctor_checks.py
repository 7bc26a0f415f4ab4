"""The doctor's checks on facts made by hand: each fires where it should, with its number, and else is silent."""

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

from spancredit.config import CreditConfig
from spancredit.doctor.examine import examine, worst_first
from spancredit.doctor.facts import CUT_OFF, Comparison, Completion, Facts, Setup
from spancredit.doctor.finding import by_share, counted, percent, tail
from spancredit.doctor.spending import Alternative, Cost, Memory

SETUP = Setup("a-model", "gsm8k", max_completion_length=64, ends=("<eos>",), max_positions=512, longest_prompt=40)
GOOD = Completion(
    0,
    "2 + 3 = 5.\n#### 5",
    12,
    reward=1.0,
    advantage=1.0,
    judged=True,
    answer="5",
    drops=(3.0, 0.0),
    weights=(0.5, 2.0),
)
BAD = replace(GOOD, text="2 + 3 = 6.\n#### 6", answer="6", reward=0.0, advantage=-1.0)
FAIR = (GOOD, BAD, replace(GOOD, group=1), replace(BAD, group=1))
COST = Cost(generation=2.0, credit=0.5, training=3.0, completions=4, scored=4, tokens=900, forwards=3, full=0.5)
MEMORY = Memory(credit=50 * 2**20, training=200 * 2**20, free=2**34, tokens=900, forwards=3)
HEALTHY = Facts(SETUP, FAIR, Comparison(4, 20, 2e-6, 0, "float32"), cost=COST, memory=MEMORY)


def asked(**settings):
    """The setup with other settings; those of `CreditConfig` begin with `credit_`."""
    own = {name.removeprefix("credit_"): v for name, v in settings.items() if name.startswith("credit_")}
    rest = {name: v for name, v in settings.items() if not name.startswith("credit_")}
    return {"setup": replace(SETUP, credit=CreditConfig(**own), **rest)}


def some(count, of=GOOD, others=FAIR, **changed):
    """`count` completions that are changed, and the fair ones."""
    return {"completions": (*(replace(of, **changed) for _ in range(count)), *others)}


def said(name, **changed):
    return examine(replace(HEALTHY, **changed))[name]


NO_MARKER = {"of": BAD, "answer": None, "missing": "no marker", "reason": "no_answer", "alone": "no_answer"}
CUT = {**NO_MARKER, "missing": CUT_OFF}
IDLE = {"advantage": 0.0, "reason": "zero_advantage", "reward": 0.0}
UNDER = {"reason": "below_noise_floor", "alone": "below_noise_floor", "drops": (0.01, -2.0)}
LATER = (Alternative("credit_budget=0.1", 0.1, 2, 4, ("exact",)), Alternative("credit_horizon=64", 0.49, 4, 4))

FIRES = [
    ("rewards", some(4, reward=0.0, others=()), "error", 0.0, "nothing tells a good one", "--prompts"),
    ("rewards", some(4, reward=1.0, others=()), "error", 1.0, "nothing left to learn", "harder"),
    ("rewards", some(4, reward=math.nan, others=()), "error", None, "No reward function rated any of all 4", "apply"),
    (
        "rewards",
        {**some(4, reward=0.0, others=()), "statuses": {"no_program": 0.75, "wrong": 0.25}},
        "error",
        0.0,
        "(no_program 75 %, wrong 25 %)",
        "form",
    ),
    ("groups", some(2, group=2, **IDLE), "note", 1 / 3, "1 of 3 groups (33 %)", "--dynamic_sampling_rounds 4"),
    ("groups", some(2, group=1, others=FAIR[:2], **IDLE), "warning", 1 / 2, "0 of them above 0", "draws fresh prompts"),
    (
        "groups",
        {**some(2, group=1, others=FAIR[:2], **IDLE), **asked(dynamic_sampling_rounds=3)},
        "note",
        1 / 2,
        "1 of 2",
        "rounds 3 will draw",
    ),
    (
        "truncated",
        some(1, truncated=True),
        "warning",
        0.2,
        "1 of 5) are cut off at 64",
        "Raise --max_completion_length",
    ),
    ("truncated", some(1, others=FAIR * 4, truncated=True), "note", 1 / 17, "end after 12 in the median", "Raise"),
    ("truncated", some(3, others=(), truncated=True), "error", 1.0, "none ends by itself", "never says <eos>"),
    (
        "truncated",
        {**some(1, truncated=True), **asked(max_positions=104)},
        "warning",
        0.2,
        "1 of 5",
        "shorter solutions,",
    ),
    (
        "answers",
        {**some(9, **CUT), **asked(max_positions=104)},
        "warning",
        9 / 13,
        "cut off",
        "no positions for longer",
    ),
    ("answers", some(1, **NO_MARKER), "warning", 0.2, "(no marker: 1)", "--credit_answer_pattern"),
    ("answers", some(9, **CUT), "warning", 9 / 13, "(cut off before it: 9)", "Raise --max_completion_length (64)"),
    ("answers", some(9, others=(), **NO_MARKER), "error", 1.0, "100 % of completions (9 of 9)", "####"),
    ("answers", {**some(9, **NO_MARKER), **asked(task="code")}, "warning", 9 / 13, "no answer", "--outcome execution"),
    ("judge", some(1, of=BAD, answer=None, missing="no marker"), "warning", 0.2, "In 1 completion", "answer_pattern"),
    ("answer_span", some(1, inside=("<eos>",)), "warning", 0.2, "'<eos>'", "--credit_answer_pattern"),
    ("answer_span", some(3, inside=("####",)), "error", 3 / 7, "43 % of answers", "value alone"),
    (
        "reasoning",
        some(1, alone="no_span", reason="no_span", drops=()),
        "note",
        0.2,
        "nothing before it",
        "steps first",
    ),
    ("reasoning", some(3, alone="no_span", reason="no_span", drops=()), "warning", 3 / 7, "43 %", "--few_shot"),
    ("uniform", some(1, reason="no_answer"), "note", 0.2, "no answer was found", "answers"),
    ("uniform", some(9, reason="non_finite"), "warning", 9 / 13, "non_finite, 9", "float16 overflows"),
    ("uniform", some(9, reason="over_budget", others=()), "error", 1.0, "Credit would change nothing", "budget"),
    ("uniform", asked(credit_mode="uniform"), "note", 1.0, "credit_mode is uniform", "counterfactual"),
    ("noise_floor", some(1, **UNDER), "note", 0.2, "largest drop is 3 nats", "Try another --credit_intervention"),
    ("noise_floor", some(6, **UNDER), "warning", 0.6, "largest drop is 0.01 nats", "spancredit explain"),
    ("noise_floor", {**some(6, **UNDER), **asked(outcome="execution")}, "note", 0.6, "no statement", "exchange"),
    ("noise_floor", {**some(6, **UNDER), **asked(outcome="exchange")}, "note", 0.6, "no statement", "Nothing"),
    (
        "cost",
        {"cost": replace(COST, tokens=0, full=0.0, runs=70, credit=5.0)},
        "warning",
        0.5,
        "Credit takes 50 % of a training step",
        "70 programs were run for it",
    ),
    (
        "noise_floor",
        {**some(6, others=(), **UNDER), **asked(credit_noise_floor=40.0)},
        "error",
        1.0,
        "40 nats",
        "Lower --credit_noise_floor (40)",
    ),
    ("flat", some(1, weights=(1.0, 1.0)), "note", 0.2, "boost 2, min_weight 0.5", "--credit_boost"),
    ("flat", some(3, weights=(1.0, 1.0), others=()), "error", 1.0, "100 % of the scored", "--credit_min_weight"),
    ("scorers", {"comparison": Comparison(4, 20, 0.3, 2, "float32")}, "error", 0.3, "2 of them by more", "sequential"),
    ("scorers", {"comparison": Comparison(4, 20, 0.01, 1, "float32")}, "error", 0.01, "1 of them by more", "report"),
    ("scorers", {"comparison": Comparison(4, 20, 0.07, 0, "bfloat16")}, "warning", 0.07, "in bfloat16", "float32"),
    (
        "fallbacks",
        {"cost": replace(COST, fallbacks=7), **asked(unpackable="it carries a recurrent state")},
        "note",
        7,
        "7 sequences could not be packed, since it carries a recurrent state",
        "Nothing is wrong",
    ),
    ("dropout", {"noise": 0.4, **asked(dropouts={"p": 0.1})}, "warning", 0.4, "up to 0.4 nats (p 0.1)", "config.json"),
    ("dropout", {"noise": 0.4}, "warning", 0.4, "something else in the model is random", "0"),
    ("dropout", asked(dropouts={"lora_dropout": 0.1}), "note", 0.0, "moves nothing yet", "--lora_dropout 0"),
    ("positions", asked(max_completion_length=480), "warning", 520, "the model has 512", "to 472 or less"),
    ("pad_token", asked(pad="end"), "warning", None, "pads with the end of a sequence, which", "attention"),
    ("pad_token", asked(pad="none", credit_intervention="attention"), "note", None, "has no pad token", "Nothing"),
    ("chat_template", asked(chat_signs=("Instruct",)), "warning", None, "(Instruct)", "chat_template.jinja"),
    ("sampling", asked(bent=("top_p=0.9",)), "note", None, "top_p=0.9", "Leave it away"),
    ("engine", asked(other_engine=True), "note", None, "vLLM", "credit/time_share"),
    ("round_trip", some(1, retokenised="sampled 'a'"), "note", 0.2, "1 completion (20 %)", "read the text anew"),
    ("cost", {}, "note", 1 / 11, "9 % of a training step", "Nothing: that is little"),
    ("cost", {"cost": replace(COST, credit=6.0)}, "warning", 6 / 11, "55 % of a training step", "Nothing: no budget"),
    (
        "cost",
        {"cost": replace(COST, credit=5.0, alternatives=LATER)},
        "warning",
        0.5,
        "at most 62 %".capitalize(),
        "--credit_budget 0.1: 10 %, 2 of 4 rollouts measured (exact).",
    ),
    ("cost", {"cost": replace(COST, iterations=3)}, "note", 0.5 / 11.5, "update 3 times", "little"),
    (
        "cost",
        {"cost": replace(COST, tokens=0, full=5.0)},
        "warning",
        0.5,
        "If all 4 were, credit would take 50 %",
        "no",
    ),
    ("cost", asked(credit_budget=0.1), "note", 1 / 11, "9 %", "credit_budget 0.1 holds"),
    ("memory", {}, "note", 50.0, "50 MiB, loss and backward 200 MiB", "Nothing: training sets the peak"),
    (
        "memory",
        {"memory": replace(MEMORY, training=10, free=2**20)},
        "warning",
        50.0,
        "300 tokens in the mean, of at most 16,384",
        "--credit_max_tokens_per_forward 150",
    ),
    ("memory", {"memory": replace(MEMORY, free=1)}, "note", 50.0, "50 MiB", "Nothing: training sets the peak"),
    ("memory", {"memory": replace(MEMORY, training=10)}, "note", 50.0, "50 MiB", "Scoring sets the peak"),
]

SILENT = [
    ("rewards", some(1, reward=math.nan)),
    ("groups", some(4, others=(), **IDLE)),  # all of them: `rewards` says it
    ("groups", some(1, advantage=0.0)),  # in the middle of its group, which has a signal
    ("answers", {**some(9, **NO_MARKER), **asked(credit_mode="uniform")}),
    ("judge", some(9, **{**NO_MARKER, "judged": False})),
    ("answer_span", {**some(3, inside=("####",)), **asked(credit_mode="uniform")}),
    ("uniform", some(9, **IDLE)),  # no weight of theirs can matter
    ("noise_floor", {**some(9, **UNDER), **asked(credit_scorer="surprisal")}),
    ("answers", {**some(9, **NO_MARKER), **asked(task="code", outcome="exchange")}),
    ("noise_floor", some(1, others=FAIR * 4, **UNDER)),
    ("flat", some(9, weights=(1.0, 1.0), **{**UNDER, "drops": (0.01,)})),
    ("flat", some(9, weights=(1.0, 1.0), drops=(3.0,))),  # one span has one weight
    ("flat", some(9, weights=(1.0, 1.0), drops=(3.0, 3.0))),
    ("scorers", {"comparison": None}),
    ("scorers", {"comparison": Comparison(4, 20, 0.04, 0, "bfloat16")}),
    ("positions", asked(max_positions=104)),
    ("fallbacks", asked(unpackable="it carries a recurrent state")),
    ("dropout", {"noise": 1e-5}),
    ("positions", asked(max_positions=None, max_completion_length=10**6)),
    ("positions", asked(max_completion_length=472)),
    ("chat_template", asked(chat_signs=("Instruct",), has_template=True)),
    ("cost", {"cost": None}),
    ("cost", {"cost": replace(COST, tokens=0, full=0.0)}),
    ("cost", asked(credit_mode="uniform")),
    ("memory", {"memory": replace(MEMORY, credit=None)}),
    ("memory", {"memory": replace(MEMORY, forwards=0)}),
]


@pytest.mark.parametrize(("name", "facts", "severity", "number", "text", "advice"), FIRES)
def test_a_check_fires_with_its_severity_its_number_and_what_to_do(name, facts, severity, number, text, advice):
    finding = said(name, **facts)
    assert finding is not None
    assert (finding.name, finding.severity) == (name, severity)
    assert finding.number == (None if number is None else pytest.approx(number))
    assert text in finding.text
    assert advice in finding.advice
    assert finding.text.endswith((".", "?"))
    assert "\n" not in finding.text + finding.advice + (finding.example or "")


@pytest.mark.parametrize(("name", "facts"), SILENT)
def test_a_check_is_silent_where_its_finding_would_be_wrong_or_is_said_elsewhere(name, facts):
    assert said(name, **facts) is None


def test_a_healthy_job_has_notes_on_what_it_takes_and_nothing_else():
    findings = examine(HEALTHY)
    assert {name for name, finding in findings.items() if finding} == {"cost", "memory"}
    assert {name for name, *_ in FIRES} == set(findings)  # every check is seen to fire


def test_every_finding_is_documented():
    page = (Path(__file__).parents[1] / "docs" / "doctor.md").read_text()
    documented = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert sorted(documented) == sorted([*examine(HEALTHY), "refused", "out_of_memory"])


def test_the_reason_that_most_share_decides_the_example_and_the_advice():
    mixed = (*some(2, **CUT, text="so 2 +")["completions"], replace(BAD, answer=None, missing="no marker", text="none"))
    finding = said("answers", completions=mixed)
    assert "(cut off before it: 2, no marker: 1)" in finding.text
    assert finding.example == "so 2 +"
    assert "Raise" in finding.advice


def test_an_alternative_that_saves_next_to_nothing_is_not_named():
    finding = said("cost", cost=replace(COST, credit=5.0, alternatives=LATER))
    assert "horizon" not in finding.advice


def test_findings_are_listed_worst_first_and_else_in_order():
    changed = {**some(9, **{**NO_MARKER, "truncated": True}), "noise": 0.4}
    found = [one for one in examine(replace(HEALTHY, **changed)).values() if one]
    assert [one.severity for one in worst_first(found)] == sorted(
        (one.severity for one in found), key=("error", "warning", "note").index
    )
    assert [one.name for one in worst_first(found)][:2] == ["truncated", "answers"]


def test_words_for_numbers():
    assert [percent(share) for share in (0.0, 0.001, 0.126, 0.999, 1.0)] == [
        "0 %",
        "less than 1 %",
        "13 %",
        "more than 99 %",
        "100 %",
    ]
    assert (counted(1, "group"), counted(0, "group")) == ("1 group", "0 groups")
    assert [by_share(share, 0.9, 0.1) for share in (0.9, 0.1, 0.09)] == ["error", "warning", "note"]
    long = tail("a b\n" + "c" * 500)
    assert (len(long), long[:4]) == (160, "...c")
