"""The benchmark of gradients: roles, resampled advantages and tables on hand-made data, and one short run."""

import importlib
import json
import random
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

import spancredit as sc
from spancredit.tasks.wordproblems import problems

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _scripts_can_be_imported(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


def rollout_of(tokenizer, problem, text, advantage=1.0):
    ids = [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]
    return sc.Rollout(tokenizer(problem.prompt)["input_ids"], ids, advantage=advantage)


def test_the_roles_of_tokens_tile_a_completion_and_first_tokens_of_sentences_stand_apart(policy):
    _, tokenizer = policy
    batches = importlib.import_module("gradients_batch")
    problem = next(p for p in problems("train", 0, "easy") if len(p.steps) == 1)
    text = f" Moving on. What remains is {problem.steps[0]} eggs.\n#### {problem.answer}"
    rollout = rollout_of(tokenizer, problem, text)
    (roles,) = batches.token_roles(tokenizer, batches.Batch([problem], [rollout], np.ones(1)))
    pieces = {}
    for role, token in zip(roles, rollout.completion_ids, strict=True):
        pieces[role] = pieces.get(role, "") + tokenizer.decode([token])
    assert pieces["filler, first token"] + pieces["filler"] == " Moving on."
    assert pieces["lead_in, first token"] + pieces["lead_in"] == " What remains is "
    assert pieces["calculation"].strip() == str(problem.steps[0])
    assert pieces["answer"].strip().removesuffix("<eos>") == str(problem.answer)
    assert set(roles) <= set(batches.ROLES)


def test_a_resampled_step_gets_the_change_of_the_value(policy, monkeypatch):
    _, tokenizer = policy
    resample = importlib.import_module("gradients_resample")
    problem = next(p for p in problems("train", 0, "easy") if len(p.steps) == 1)
    rollout = rollout_of(tokenizer, problem, problem.solution)
    other = rollout_of(tokenizer, problem, problem.solution, advantage=-1.0)
    right = tokenizer(f" \n#### {problem.answer}")["input_ids"]
    wrong = tokenizer("\n#### 999")["input_ids"]
    cuts = resample.boundaries(tokenizer, rollout)
    found = {cut: [right] * min(4, k) + [wrong] * max(0, 4 - k) for k, cut in enumerate(cuts)}
    prompt = len(rollout.prompt_ids)
    monkeypatch.setattr(
        resample, "continue_many", lambda model, prefixes, *_: [found[len(p) - prompt] for p in prefixes]
    )
    rewards = np.array([1.0, 0.0])
    row_T, other_T = resample.resampled(
        None, tokenizer, [rollout, other], [problem, problem], rewards, 2, 4, 99, torch.Generator()
    )
    values = [0.5, *(min(4, k) / 4 for k in range(len(cuts))), 1.0]
    deviation = rewards.std(ddof=1) + 1e-4
    for start, before, after in zip([0, *cuts], values, values[1:], strict=False):
        assert row_T[start] == pytest.approx((after - before) / deviation)
    assert other_T[-1] == pytest.approx((0.0 - values[-2]) / deviation)


def test_alignment_on_vectors_made_by_hand():
    made = importlib.import_module("gradients_alignment")
    true, noise = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    found = [
        {"uniform": true + sign * noise, "clean": true, "useless": sign * noise, "quiet": true + 0.01 * sign * noise}
        for sign in (1, -1, -1, 1, 1, -1, -1, 1)
    ]
    rules = made.alignment(found)
    assert rules["uniform"]["cosine"]["against_uniform"] is None
    assert rules["clean"]["cosine"]["value"] > rules["uniform"]["cosine"]["value"] > rules["useless"]["cosine"]["value"]
    assert rules["clean"]["cosine"]["against_uniform"][1] > 0
    # However small a rule makes a coordinate, Adam takes it for a full step; one that it leaves out is left out.
    assert rules["quiet"]["cosine"]["value"] > 0.98
    assert rules["quiet"]["adam"]["value"] == pytest.approx(rules["uniform"]["adam"]["value"], abs=1e-3)
    assert rules["clean"]["adam"]["value"] > rules["uniform"]["adam"]["value"] + 0.2


@pytest.mark.slow
def test_the_intervals_of_alignments_cover_what_a_rule_that_changes_nothing_gains():
    made = importlib.import_module("gradients_alignment")
    torch.manual_seed(0)
    true, covered = torch.nn.functional.normalize(torch.randn(60), dim=0), 0
    for _ in range(100):
        # The same mean and as much noise of its own: the true difference is 0.
        pairs = [(true + torch.randn(60) * 0.3, true + torch.randn(60) * 0.3) for _ in range(8)]
        rows = made.alignment([{"uniform": one, "other": other} for one, other in pairs])
        _, low, high = rows["other"]["cosine"]["against_uniform"]
        covered += low <= 0 <= high
    assert covered >= 90


def test_tables_on_vectors_made_by_hand():
    tables = importlib.import_module("gradients_tables")
    true, noise = torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 0.0])
    found = [{"uniform": true + sign * noise, "a": true, "b": sign * noise} for sign in (1, -1, 1, -1)]
    roles = tables.progress(found, {"a": 3, "b": 1})
    assert sum(role["noise"] for role in roles.values()) == pytest.approx(1)
    assert roles["a"]["tokens"] == 0.75
    assert roles["a"]["noise"] == pytest.approx(0)
    assert roles["b"]["noise"] == pytest.approx(1)
    assert roles["a"]["progress"] + roles["b"]["progress"] == pytest.approx(1)


def test_lorenz_curves_and_mass_by_kind():
    tables = importlib.import_module("gradients_tables")
    spans = [{"kind": kind, "norms": {"even": 1.0, "uneven": mass}} for kind, mass in (("text", 0.0), ("calc", 3.0))]
    curves = tables.lorenz(spans, points=2)
    assert curves == {"even": [0.0, 0.5, 1.0], "uneven": [0.0, 0.0, 1.0]}
    assert tables.by_kind(spans) == {"even": {"calc": 0.5, "text": 0.5}, "uneven": {"calc": 1.0, "text": 0.0}}


def test_rules_that_know_the_truth_credit_calculations_and_blame_the_first_wrong_one(policy):
    _, tokenizer = policy
    batches, made = importlib.import_module("gradients_batch"), importlib.import_module("gradients_variants")
    problem = next(p for p in problems("train", 0, "medium") if len(p.steps) == 3)
    first, second, third = problem.steps
    wrong = f"{second.left} {second.op} {second.right} = {second.result + 1}"
    text = f" That is {first} eggs. That is {wrong} eggs. That is {third} eggs.\n#### 0"
    rollout = rollout_of(tokenizer, problem, text, advantage=-2.0)
    batch = batches.Batch([problem], [rollout], np.zeros(1))

    def credited(faults):
        (row_T,) = made.by_truth(tokenizer, batch, [-2.0], faults)
        assert set(row_T.tolist()) == {0.0, -2.0}
        ids = [token for token, value in zip(rollout.completion_ids, row_T, strict=True) if value]
        return "".join(tokenizer.decode(ids).split())

    assert credited(faults=True) == "".join(wrong.split())
    assert credited(faults=False) == "".join(f"{first}{wrong}{third}".split())


def test_a_careless_solution_goes_on_from_what_it_got_wrong():
    careless = importlib.import_module("careless_policy").careless
    some = list(islice(problems("train", 5, "medium"), 50))
    assert all(careless(problem, 0.0, random.Random(0)) == problem.solution for problem in some)
    for problem in some:
        text = careless(problem, 1.0, random.Random(1))
        equations = [part.split(" = ") for part in text.split("\n")[0].split(".") if " = " in part]
        results = [int(right.split()[0]) for _, right in equations]
        assert [left.split()[-3] for left, _ in equations[1:]] == [str(result) for result in results[:-1]]
        assert text.endswith(f"#### {results[-1]}")
        assert results[0] != problem.steps[0].result


@pytest.mark.slow
def test_a_short_run_writes_its_tables_and_its_picture(tmp_path, monkeypatch, capsys):
    script = importlib.import_module("gradients")
    out = tmp_path / "g.json"
    monkeypatch.setattr("sys.argv", ["gradients.py", "--batches", "4", "--resamples", "2", "--out", str(out)])
    monkeypatch.setattr(script, "GROUPS", 6)
    script.main()
    report = json.loads(out.read_text())
    assert set(report["rules"]) >= {"uniform", "counterfactual", "monte carlo", "token entropy"}
    assert sum(row["tokens"] for row in report["roles"].values()) == pytest.approx(1)
    assert out.with_suffix(".svg").read_text().startswith("<?xml")
    assert "| uniform | " in capsys.readouterr().out
    few = ["--batches", "4", "--resamples", "0", "--out", str(out)]
    monkeypatch.setattr("sys.argv", ["gradients.py", "--variants", *few])
    script.main()
    variants = json.loads(out.read_text())["rules"]
    assert set(variants) >= {"uniform", "counterfactual", "min_weight 0", "steps of the group", "truth: calculations"}
