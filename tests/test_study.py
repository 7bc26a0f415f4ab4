"""Studies: the plan, the runs whatever interrupts them, and what is said of the results."""

import io
import itertools
import json
import math
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from input_for_tests import assert_one_sentence, full_disk
from rich.console import Console

import spancredit as sc
from spancredit.commands.study import _Display, show, study
from spancredit.errors import ConfigError, RunFolderError
from spancredit.study import runner
from spancredit.study.figures import importance, phases
from spancredit.study.folder import StudyFolder
from spancredit.study.page import save_figures, study_page
from spancredit.study.plan import ARMS, Run
from spancredit.study.planfile import read_plan
from spancredit.study.results import compare
from spancredit.study.runner import end_orphans, run_study, slots_for
from spancredit.study.statistics import median_steps, paired, smallest_visible, steps_to, verdicts
from spancredit.study.terminal import verdict

SETTINGS = {
    "difficulty": "easy",
    "max_steps": 4,
    "per_device_train_batch_size": 8,
    "num_generations": 4,
    "held_out_problems": 20,
    "held_out_steps": 1,
    "save_steps": 1,
    "max_completion_length": 40,
}


def created(path, plan):
    """The folder of a study that is not at work."""
    with StudyFolder.at_work(path, plan) as made:
        return made


def plan_file(folder, **changes):
    given = {"arms": ["uniform", "counterfactual"], "seeds": [0, 1], "settings": SETTINGS, **changes}
    path = folder / "plan.yaml"
    path.write_text(yaml.safe_dump(given, sort_keys=False))
    return path


def finished(folder, accuracies, sampled=None, **changes):
    """A study whose runs are done, without running them: arm -> one accuracy a seed, and if given sampled ones."""
    path = plan_file(folder, arms=list(accuracies), seeds=list(range(len(next(iter(accuracies.values()))))), **changes)
    made = created(folder / "study", read_plan(path))
    for arm, values in accuracies.items():
        for seed, value in enumerate(values):
            run = Run(arm, 5e-5, seed)
            place = made.prepare(run)
            rows = [{"step": 0, "accuracy": 0.4}, {"step": 10, "accuracy": value}]
            if sampled:
                rows = [row | {"sampled": share} for row, share in zip(rows, (0.2, sampled[arm][seed]), strict=True)]
            place.held_out.write_text("".join(json.dumps(row) + "\n" for row in rows))
            place.metrics.write_text(
                "".join(
                    json.dumps({"step": step, "step_time": 2.0, "credit/seconds": seconds}) + "\n"
                    for step, seconds in ((1, 0.8), (2, 0.0), (3, 0.0))  # inner epochs: scored once, used three times
                )
            )
            made.finish(run)
    return made


def test_a_known_arm_brings_its_settings_and_own_ones_come_on_top(tmp_path):
    arms = {"uniform": None, "counterfactual": {"credit_boost": 3.0}, "mine": {"credit_horizon": 16}}
    plan = read_plan(plan_file(tmp_path, arms=arms))
    assert plan.arms == {
        "uniform": ARMS["uniform"],
        "counterfactual": {"credit_mode": "counterfactual", "credit_boost": 3.0},
        "mine": {"credit_horizon": 16},
    }
    assert plan.reference == "uniform"
    settings = plan.settings_of(Run("mine", 1e-4, 3))
    assert settings == {**SETTINGS, "credit_horizon": 16, "learning_rate": 1e-4, "seed": 3}
    (tmp_path / "again.yaml").write_text(plan.text)
    assert read_plan(tmp_path / "again.yaml") == plan


def test_a_rate_without_a_dot_is_a_text_to_yaml_and_a_rate_to_a_study(tmp_path):
    (tmp_path / "plan.yaml").write_text("rates: [5e-5, 1.0e-4]\ntuning_seeds: [9]\n")
    assert read_plan(tmp_path / "plan.yaml").rates == (5e-5, 1e-4)


def test_each_arm_takes_its_best_rate_and_all_take_the_common_one(tmp_path):
    plan = read_plan(plan_file(tmp_path, rates=[1e-5, 1e-4], tuning_seeds=[7, 8]))
    assert len(plan.tuning) == 8
    scores = {
        ("uniform", 1e-5): 0.6,
        ("uniform", 1e-4): 0.5,
        ("counterfactual", 1e-5): 0.4,
        ("counterfactual", 1e-4): 0.6,
    }
    rates = plan.choose({run: scores[run.arm, run.rate] for run in plan.tuning})
    assert rates.best == {"uniform": 1e-5, "counterfactual": 1e-4}
    assert rates.common == 1e-4
    assert {(run.arm, run.rate) for run in plan.headline(rates)} == {
        ("uniform", 1e-5),
        ("uniform", 1e-4),
        ("counterfactual", 1e-4),
    }
    assert plan.choose(dict.fromkeys(plan.tuning, 0.5)).common == 1e-5


NO_FOLDERS = ("../../../x", "a/b", "/x", "..", ".x", "", "a b", "ä", "a\n", "a[0.5]")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"arms": ["uniform", "counterfctual"]}, "counterfactual"),
        ({"arms": []}, "arms"),
        ({"arms": {"mine": 3}}, "mapping"),
        *(({"arms": {name: {}}}, "letters, digits") for name in NO_FOLDERS),
        ({"seeds": []}, "seeds"),
        ({"seeds": [0, 0]}, "each once"),
        ({"seeds": "a"}, "list of whole numbers"),
        ({"seeds": "12345"}, "seeds of the study is '12345'; expected a list of whole numbers"),
        ({"seeds": [0.5, 1.5]}, "list of whole numbers"),
        ({"seeds": [True, 2]}, "list of whole numbers"),
        ({"seeds": {0: 1}}, "list of whole numbers"),
        ({"seeds": None}, "list of whole numbers"),
        ({"tuning_seeds": ["7"]}, "tuning_seeds of the study is .*list of whole numbers"),
        ({"rates": "123"}, "rates of the study is '123'; expected a list of numbers"),
        ({"rates": [True]}, "list of numbers"),
        ({"rates": [[1e-5]]}, "list of numbers"),
        ({"rates": ["fast"]}, "list of numbers"),
        ({"rates": [10**400]}, "list of numbers"),
        *(({"rates": [rate]}, "expected finite numbers over 0") for rate in (math.nan, math.inf, -1.0, 0, "nan")),
        ({"rates": [1e-5, 1.00000001e-5], "tuning_seeds": [9]}, "would share the run uniform-1e-05-seed0"),
        ({"rates": [1e-5, 1e-4]}, "tuning_seeds"),
        ({"rates": [1e-5, 1e-4], "tuning_seeds": [1, 2]}, "other seeds"),
        ({"settings": {"seed": 1}}, "sets seed"),
        ({"settings": [1]}, "mapping"),
        ({"reference": "nobody"}, "reference"),
        ({"sedes": [1]}, "seeds"),
    ],
)
def test_a_plan_that_is_wrong_is_refused_in_one_sentence(tmp_path, changes, words):
    with pytest.raises(ConfigError, match=words) as error:
        read_plan(plan_file(tmp_path, **changes))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["a", "-", "0", "a.b", "_+-.", "uniform"])
def test_an_arm_may_be_called_what_a_folder_may(tmp_path, name):
    folder = StudyFolder(tmp_path, read_plan(plan_file(tmp_path, arms={name: {}})))
    for run in folder.plan.headline(folder.plan.choose({})):
        assert folder.of(run).path.parent == folder.runs


def test_the_saved_plan_of_a_study_names_no_folder_outside_it(tmp_path):
    made = created(tmp_path / "study", read_plan(plan_file(tmp_path, arms={"mine": {}})))
    saved = made.path / "study.yaml"
    saved.write_text(saved.read_text().replace("mine", "../../../mine"))
    with pytest.raises(ConfigError, match="letters, digits"):
        StudyFolder.open(made.path)


@pytest.mark.parametrize("text", ["[", "3", ""])
def test_a_file_that_is_no_plan_is_refused(tmp_path, text):
    (tmp_path / "plan.yaml").write_text(text)
    with pytest.raises(ConfigError):
        read_plan(tmp_path / "plan.yaml")
    with pytest.raises(ConfigError, match="expected a YAML file"):
        read_plan(tmp_path / "none.yaml")


def test_an_arms_unknown_setting_is_refused_before_anything_runs(tmp_path):
    path = plan_file(tmp_path, arms={"uniform": None, "mine": {"credit_bost": 3}})
    with pytest.raises(ConfigError, match=r"arm 'mine'.*credit_boost"):
        study(path, tmp_path / "study", 1, Console(quiet=True))
    with pytest.raises(ConfigError, match=r"arm 'mine'.*overlong_cache"):
        study(plan_file(tmp_path, arms={"mine": {"overlong_cache": 90}}), tmp_path / "study", 1, Console(quiet=True))
    with pytest.raises(ConfigError, match="--processes is 0"):
        study(plan_file(tmp_path), tmp_path / "study", 0, Console(quiet=True))
    assert not (tmp_path / "study").exists()


def test_a_study_may_grow_by_arms_and_seeds_and_change_in_nothing_else(tmp_path):
    place = tmp_path / "study"
    first = read_plan(plan_file(tmp_path, arms=["uniform", "inverted"], seeds=[1, 0]))
    created(place, first)
    more = plan_file(tmp_path, arms=["uniform", "random", "inverted"], seeds=[0, 1, 2])
    assert created(place, read_plan(more)).plan.seeds == (0, 1, 2)
    for changes in (
        {"arms": ["uniform", "inverted"]},
        {"seeds": [0, 1]},
        {"arms": {"uniform": {"temperature": 0.5}, "random": None, "inverted": None}},
        {"settings": SETTINGS | {"max_steps": 7}},
        {"rates": [3e-4]},
    ):
        shrunk = {"arms": ["uniform", "random", "inverted"], "seeds": [0, 1, 2], **changes}
        with pytest.raises(RunFolderError, match="at most with more arms or seeds"):
            created(place, read_plan(plan_file(tmp_path, **shrunk)))
    assert StudyFolder.open(place).plan.settings == first.settings


def test_two_studies_do_not_share_a_folder(tmp_path):
    first = created(tmp_path / "study", read_plan(plan_file(tmp_path)))
    with pytest.raises(RunFolderError, match="another plan"):
        created(tmp_path / "study", read_plan(plan_file(tmp_path, seeds=[5])))
    with pytest.raises(RunFolderError, match="no study"):
        created(tmp_path, first.plan)
    (tmp_path / "empty").mkdir()
    created(tmp_path / "empty", first.plan)
    with pytest.raises(RunFolderError, match="holds no study"):
        StudyFolder.open(tmp_path)


def test_a_command_that_finds_another_at_work_is_refused_and_changes_nothing(tmp_path):
    plan, more = read_plan(plan_file(tmp_path)), read_plan(plan_file(tmp_path, seeds=[0, 1, 2]))
    with StudyFolder.at_work(tmp_path / "study", plan) as first:
        with pytest.raises(RunFolderError, match="another process"):
            created(tmp_path / "study", more)
        assert StudyFolder.open(first.path).plan == plan
    assert created(tmp_path / "study", more).plan == more


# What stands between a study that was killed and its trainings, and never asks what became of them.
CARELESS = "import subprocess, sys, time; [subprocess.Popen(sys.argv[1:] + [p]) for p in ('%s', '%s')]; time.sleep(600)"


def trainings(runs):
    """Processes that look like a training of a run below this folder, by the run."""
    found = {}
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if words[1:4] == ["-m", "spancredit", "train"] and Path(words[-1]).parent == runs:
            found[Path(words[-1]).name] = process
    return found


@pytest.fixture
def orphans(tmp_path):
    """Two trainings that wait, of a parent that does not reap them, and a bystander on the same folder."""
    runs = tmp_path / "runs"
    # Python runs the module of this name that it finds first.
    (tmp_path / "spancredit").mkdir()
    (tmp_path / "spancredit" / "__main__.py").write_text("import time; time.sleep(600)")
    wait = [sys.executable, "-c", "import time; time.sleep(600)", "--output_dir", str(runs / "a")]
    command = [sys.executable, "-m", "spancredit", "train", "--resume", "--output_dir"]
    bystander = subprocess.Popen(wait)
    parent = subprocess.Popen([sys.executable, "-c", CARELESS % (runs / "a", runs / "b"), *command], cwd=tmp_path)
    try:
        while len(trainings(runs)) < 2:
            time.sleep(0.05)
        yield runs, bystander
    finally:
        for one in [*psutil.Process(parent.pid).children(), parent, bystander]:
            one.kill()
        parent.wait()
        bystander.wait()


def test_only_the_trainings_of_a_killed_study_are_ended_whoever_is_to_reap_them(orphans):
    runs, bystander = orphans
    left = trainings(runs)
    ending = threading.Thread(target=end_orphans, args=[runs], daemon=True)
    ending.start()
    ending.join(60)
    assert not ending.is_alive(), "it waits for a process that its parent does not reap"
    assert {process.status() for process in left.values()} == {psutil.STATUS_ZOMBIE}
    assert bystander.poll() is None
    end_orphans(runs.parent)


def test_what_a_killed_study_left_at_work_ends_before_the_first_run_of_the_next(orphans, tmp_path, monkeypatch):
    runs, _ = orphans
    plan = read_plan(plan_file(tmp_path, arms=["uniform"], seeds=[0]))
    folder = StudyFolder(tmp_path, plan)
    at_work = []
    monkeypatch.setattr(runner, "run_all", lambda *_: at_work.append(list(trainings(runs))) or {})
    run_study(folder, [{}], lambda *_: None)
    assert at_work == [[], []]


def test_a_training_that_may_not_be_ended_is_one_sentence(orphans, monkeypatch):
    def denied(process):
        raise psutil.AccessDenied(process.pid)

    with monkeypatch.context() as patched:
        patched.setattr(psutil.Process, "kill", denied)
        with pytest.raises(RunFolderError, match="this user may not end it"):
            end_orphans(orphans[0])


@pytest.mark.parametrize(("name", "room"), [("study.yaml", 20), ("settings.yaml", 20), ("result.json", 4)])
def test_a_study_whose_own_files_did_not_fit_on_the_disk_goes_on_when_they_do(tmp_path, name, room):
    plan = read_plan(plan_file(tmp_path))
    first, second = plan.headline(plan.choose({}))[:2]

    def work():
        made = created(tmp_path / "study", plan)
        for run in (first, second):
            made.prepare(run).held_out.write_text('{"step": 4, "accuracy": 0.5}\n')
            made.finish(run)
        return made

    with full_disk(f"{name}.part", room=room), pytest.raises(OSError, match="No space left"):
        work()
    assert not list(tmp_path.glob("study/**/*.part")), "what did not fit takes no space"
    if name == "result.json":
        assert StudyFolder.open(tmp_path / "study").accuracies([first, second]) == {first: 0.5}
    assert work().accuracies([first, second]) == {first: 0.5, second: 0.5}


def start(path, folder, *more):
    command = [sys.executable, "-m", "spancredit", "study", str(path), "--output_dir", str(folder), "--processes", "2"]
    return subprocess.Popen([*command, *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def outcome_of(folder):
    made = StudyFolder.open(folder)
    return {
        run.name: [(row["step"], row["reward"]) for row in made.of(run).rows(made.of(run).metrics)]
        + [(row["step"], row["accuracy"]) for row in made.of(run).rows(made.of(run).held_out)]
        for run in made.plan.headline(made.plan.choose({}))
    }


@pytest.mark.slow
def test_a_study_that_was_killed_ends_with_the_results_of_one_that_was_not(tmp_path):
    path = plan_file(tmp_path, seeds=[0], arms=["counterfactual"])
    whole, _ = study(path, tmp_path / "whole", 2, Console(quiet=True))
    process = start(path, tmp_path / "cut")
    metrics = tmp_path / "cut" / "runs" / "counterfactual-5e-05-seed0" / "metrics.jsonl"
    for _ in range(3000):
        if metrics.exists() and metrics.read_text().count("\n") >= 2:
            break
        time.sleep(0.02)
    process.kill()
    process.wait()
    begun = metrics.read_text().count("\n")
    assert begun >= 2, "it was at work when it was killed"
    assert not StudyFolder.open(tmp_path / "cut").done(Run("counterfactual", 5e-5, 0))
    cut, failed = study(path, tmp_path / "cut", 2, Console(quiet=True))
    assert not failed
    assert outcome_of(cut.path) == outcome_of(whole.path)
    assert not list(cut.path.glob("runs/*/checkpoint-*"))


@pytest.mark.slow
def test_an_arm_that_fails_leaves_the_others_and_is_said_and_tried_again(tmp_path):
    path = plan_file(
        tmp_path, arms={"uniform": None, "lost": {"model_name_or_path": str(tmp_path / "none")}}, seeds=[0]
    )
    process = start(path, tmp_path / "study", "--json")
    out, said = process.communicate(timeout=300)
    assert process.returncode == 1, said.decode()
    report = json.loads(out)
    assert list(report["failed"]) == ["lost-5e-05-seed0"]
    assert "no such folder" in report["failed"]["lost-5e-05-seed0"]
    arms = {arm["arm"]: arm["seeds"] for arm in report["comparisons"][0]["arms"]}
    assert arms == {"uniform": [0], "lost": []}
    assert (tmp_path / "study" / "runs" / "lost-5e-05-seed0" / "train.log").read_text().strip()


def test_a_known_difference_is_shown_and_a_chance_one_is_not(tmp_path):
    better = {"uniform": [0.50, 0.52, 0.48, 0.51, 0.49, 0.5], "counterfactual": [0.55, 0.57, 0.54, 0.55, 0.54, 0.56]}
    (comparison,) = compare(finished(tmp_path, {**better, "random": [0.49, 0.54, 0.47, 0.50, 0.51, 0.49]}))
    assert comparison.verdicts == {"counterfactual": "above", "random": "no difference shown"}
    assert comparison.differences["counterfactual"].p == comparison.differences["counterfactual"].least_p
    counterfactual = next(arm for arm in comparison.arms if arm.arm == "counterfactual")
    ends = zip(*(arm.accuracies for arm in comparison.arms), strict=True)
    reached = [0.9 * (sum(some) / 3 - 0.4) / (some[1] - 0.4) for some in ends]
    assert counterfactual.steps == pytest.approx([10 * share for share in reached])
    assert counterfactual.share == pytest.approx(0.8 / 6)


def test_no_arm_is_favoured_by_how_steps_are_counted(tmp_path):
    same = [0.5, 0.6, 0.4, 0.55, 0.45]
    (comparison,) = compare(finished(tmp_path, {"uniform": same, "random": same[::-1]}))
    uniform, random = comparison.arms
    assert sorted(map(str, uniform.steps)) == sorted(map(str, random.steps))
    assert None in uniform.steps


@pytest.mark.parametrize(
    ("steps", "middle"),
    [((10, 20, 30), 20), ((10, None, 30), 30), ((None, None, 30), None), ((10, None), None), ((), None)],
)
def test_who_never_gets_there_comes_last(steps, middle):
    assert median_steps(steps) == middle


@pytest.mark.parametrize(("rates", "tuning_seeds"), [([5e-5], []), ([5e-5, 1e-4], [0])])
def test_a_run_that_is_done_and_has_lost_its_accuracies_is_one_sentence(tmp_path, rates, tuning_seeds):
    folder = finished(tmp_path, {"uniform": [0.5, 0.5], "counterfactual": [0.5, 0.6]})
    path = plan_file(tmp_path, rates=rates, tuning_seeds=tuning_seeds, seeds=[1] if tuning_seeds else [0, 1])
    folder = StudyFolder(folder.path, read_plan(path))
    run = Run("uniform", 5e-5, 0)
    for lost in (lambda path: path.write_text(""), Path.unlink):
        lost(folder.of(run).held_out)
        with pytest.raises(RunFolderError, match=rf"{run.name} is done, and .* holds no accuracy") as error:
            compare(folder)
        assert_one_sentence(str(error.value))


def test_fewer_than_five_seeds_give_no_conclusion_and_the_terminal_says_so(tmp_path):
    made = finished(tmp_path, {"uniform": [0.5, 0.5, 0.5, 0.5], "inverted": [0.1, 0.12, 0.1, 0.1]})
    console = Console(width=80, record=True, quiet=False, file=open(os.devnull, "w"))  # noqa: SIM115
    show(made, {Run("inverted", 5e-5, 9): "exit status 1: gone"}, console)
    text = console.export_text()
    assert "inverted: no conclusion, 4 pairs of seeds, fewer than 5" in text
    assert "inverted-5e-05-seed9 failed, exit status 1: gone" in text
    assert "…" not in text, "the table fits 80 columns"


def test_a_seed_that_is_missing_is_said_and_leaves_its_pair_out(tmp_path):
    made = finished(tmp_path, {"uniform": [0.5, 0.4, 0.6, 0.5, 0.52], "random": [0.5, 0.45, 0.6, 0.55, 0.5]})
    (made.of(Run("uniform", 5e-5, 3)).path / "result.json").unlink()
    (comparison,) = compare(made)
    assert len(comparison.differences["random"].values) == 4
    assert comparison.verdicts["random"] == "no conclusion"
    random = next(arm for arm in comparison.arms if arm.arm == "random")
    assert "4 pairs of seeds, fewer than 5" in verdict(comparison, random)
    assert "1 of 5 seeds missing" in verdict(comparison, comparison.arms[0])
    assert len(random.steps) == 5
    plain = json.loads(json.dumps(comparison.plain()))
    assert plain["verdicts"] == {"random": "no conclusion"}
    assert plain["differences"]["random"]["least_p"] == 0.125


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([0.5, 0.51], "as many show 24.5 points"),
        ([0.5, 0.6], "as many show no difference that two accuracies can have"),
    ],
)
def test_what_two_pairs_of_seeds_could_show_is_said_plainly(tmp_path, values, said):
    arms = {"uniform": [0.5, 0.5], "counterfactual": values, "random": [0.4, 0.5], "inverted": [0.5, 0.4]}
    (comparison,) = compare(finished(tmp_path, arms))
    assert f"; {said} with power 0.8; " in verdict(comparison, comparison.arms[1])


def test_before_rates_are_chosen_there_are_no_results(tmp_path):
    made = created(tmp_path / "study", read_plan(plan_file(tmp_path, rates=[1e-5, 1e-4], tuning_seeds=[7])))
    assert compare(made) == []
    assert "not chosen yet" in study_page(made, compare(made))


def test_the_page_says_how_rates_were_chosen(tmp_path):
    rates = {1e-5: (0.2, 0.2), 1e-4: (0.6, 0.6), 1e-3: (0.4, 0.9)}
    plan = read_plan(plan_file(tmp_path, arms=["uniform", "random"], rates=list(rates), tuning_seeds=[7, 8]))
    made = created(tmp_path / "study", plan)
    headline = [Run(arm, rate, seed) for arm in plan.arms for rate in rates for seed in plan.seeds]
    for run in [*plan.tuning, *headline]:
        accuracy = rates[run.rate][run.arm == "random"]
        made.prepare(run).held_out.write_text(json.dumps({"step": 0, "accuracy": accuracy}) + "\n")
        made.finish(run)
    page = study_page(made, compare(made))
    assert "Mean accuracy of the seeds 7, 8" in page
    assert "<td>uniform</td><td>20.0%</td><td>60.0%</td><td>40.0%</td><td>0.0001</td>" in page
    assert "an end of what was tried for random: a better" in page


def test_verdicts_are_corrected_for_the_number_of_arms():
    """A p of 0.03 is shown for one arm, and not for the best of three."""
    one = paired([0.0] * 6, [0.01, 0.03, 0.02, 0.00, 0.035, 0.00])
    assert 0.025 < one.student_p < 0.05
    noise = paired([0.0] * 6, [0.01, -0.01, 0.02, -0.02, 0.00, 0.005])
    assert verdicts({"a": one}) == {"a": "above"}
    assert verdicts({"a": one, "b": noise, "c": noise})["a"] == "no difference shown"
    few = paired([0.0] * 4, [0.5, 0.51, 0.5, 0.49])
    assert verdicts({"a": few, "b": None}) == {"a": "no conclusion", "b": "no conclusion"}


def test_equal_differences_are_no_certainty():
    five = paired([0.5] * 5, [0.502] * 5)
    assert verdicts({"a": five}) == {"a": "no difference shown"}
    assert smallest_visible(five.values, 5) is None


def test_runs_share_cores_and_devices(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert slots_for(None, 0) == [{"OMP_NUM_THREADS": "1"}] * 8
    assert slots_for(2, 0) == [{"OMP_NUM_THREADS": "4"}] * 2
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in slots_for(None, 2)] == ["2", "5"]
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in slots_for(3, 2)] == ["2", "5", "2"]
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert slots_for(1, 0) == [{}]


def test_an_arm_without_a_finished_run_is_shown_empty(tmp_path):
    made = created(tmp_path / "study", read_plan(plan_file(tmp_path)))
    (comparison,) = compare(made)
    assert [arm.seeds for arm in comparison.arms] == [(), ()]
    show(made, {}, Console(quiet=True))


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=7))
def test_the_permutation_test_counts_every_flip_of_signs(values):
    values = np.round(values, 3)
    difference = paired([0.0] * len(values), values.tolist())
    flips = np.array(list(itertools.product([1, -1], repeat=len(values))))
    means = (flips * values).mean(1)
    expected = min(1.0, 2 * min((means >= values.mean() - 1e-9).mean(), (means <= values.mean() + 1e-9).mean()))
    assert difference.p == pytest.approx(expected)
    low, high = difference.student
    assert low - 1e-9 <= difference.mean <= high + 1e-9


@pytest.mark.parametrize(
    ("arms", "seeds", "critical"), [(1, 8, 2.365), (3, 8, 3.128), (1, 2, 12.706), (3, 2, 38.188), (11, 2, 140.05)]
)
def test_power_of_the_smallest_visible_difference_holds_in_simulation(arms, seeds, critical):
    draw, deviation = np.random.default_rng(0), 0.02
    sample = draw.normal(0, deviation, seeds)
    visible = smallest_visible((sample / sample.std(ddof=1) * deviation).tolist(), seeds, arms)
    runs = draw.normal(visible, deviation, (4000, seeds))
    t = runs.mean(1) / (runs.std(1, ddof=1) / seeds**0.5)
    assert (t > critical).mean() == pytest.approx(0.8, abs=0.03)


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "sampled"), [(16, False), (40, True)])
def test_the_least_p_is_what_a_difference_on_every_seed_gets(tmp_path, seeds, sampled):
    """Of so many seeds that the flips of signs are not all tried, no p can be told from that of the sample."""
    arms = {"uniform": [0.5] * seeds, "counterfactual": [0.6 + 0.001 * i for i in range(seeds)]}
    (comparison,) = compare(finished(tmp_path, arms))
    found = comparison.differences["counterfactual"]
    assert found.sampled == sampled
    assert found.p == pytest.approx(found.least_p, rel=1e-9)
    assert ("sampled flips" in verdict(comparison, comparison.arms[1])) == sampled
    assert "cannot show p below 3.1e-05" in verdict(comparison, comparison.arms[1])


@pytest.mark.parametrize(("reference", "other"), [([0.1], [0.2]), ([0.1, 0.2], [0.1])])
def test_runs_that_are_no_pairs_are_refused(reference, other):
    with pytest.raises(ValueError, match="cannot be paired"):
        paired(reference, other)


def test_steps_are_read_off_a_straight_line_between_evaluations():
    curve = [{"step": 0, "accuracy": 0.4}, {"step": 20, "accuracy": 0.5}, {"step": 40, "accuracy": 0.45}]
    assert steps_to(curve, 0.45) == 10
    assert steps_to(curve, 0.3) == 0
    assert steps_to(curve, 0.51) is None


GREEDY = {"uniform": [0.5, 0.5, 0.5, 0.5, 0.5], "counterfactual": [0.7, 0.6, 0.7, 0.6, 0.7]}
SAMPLED = {"uniform": [0.5, 0.6, 0.5, 0.6, 0.5], "counterfactual": [0.3, 0.4, 0.4, 0.4, 0.3]}


def test_a_study_is_judged_by_its_measure_and_shows_the_other_one(tmp_path):
    both = SETTINGS | {"held_out_sampled": True}
    (greedy,) = compare(finished(tmp_path, GREEDY, SAMPLED, settings=both))
    (tmp_path / "second").mkdir()
    made = finished(tmp_path / "second", GREEDY, SAMPLED, settings=both, measure="sampled")
    (sampled,) = compare(made)
    assert greedy.verdicts == {"counterfactual": "above"}
    assert sampled.verdicts == {"counterfactual": "below"}
    assert sampled.differences["counterfactual"].values == greedy.others["counterfactual"].values
    assert [row["accuracy"] for row in sampled.arms[0].curves[0]] == [0.2, 0.5]
    assert made.accuracies([Run("uniform", 5e-5, 1)]) == {Run("uniform", 5e-5, 1): 0.6}
    page = study_page(made, [sampled])
    assert "Held-out accuracy, sampled" in page
    assert "greedy (sd)" in page
    assert "66.0% (5.5), gain +16.0" in page


def test_without_sampled_accuracy_there_is_no_other_measure(tmp_path):
    (comparison,) = compare(finished(tmp_path, GREEDY))
    assert comparison.others == {"counterfactual": None}
    assert comparison.arms[0].others == ()


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"measure": "sampld"}, "Did you mean 'sampled'"), ({"measure": "sampled"}, "expected held_out_sampled: true")],
)
def test_a_measure_that_there_will_not_be_is_refused(tmp_path, changes, words):
    with pytest.raises(sc.SpanCreditError, match=words):
        read_plan(plan_file(tmp_path, **changes))


@pytest.mark.slow
def test_pictures_show_what_earned_the_credit_and_where_the_time_went(tmp_path):
    made = finished(tmp_path, GREEDY)
    rows = {
        "uniform": {"step": 1, "step_time": 4.0, "generation/seconds": 1.5, "credit/seconds": 0.0},
        "counterfactual": {
            "step": 1,
            "step_time": 5.0,
            "generation/seconds": 1.5,
            "credit/seconds": 1.0,
            "credit/drop/calculation": 3.0,
            "credit/weight_share/calculation": 0.6,
        },
    }
    bars = [patch for axes in phases({arm: [row] for arm, row in rows.items()}).axes for patch in axes.patches]
    assert sorted(round(bar.get_width(), 6) for bar in bars) == [0.0, 1.0, 1.5, 1.5, 2.5, 2.5]
    drops, shares = importance({arm: [row] for arm, row in rows.items()}).axes
    assert [bar.get_height() for bar in drops.patches] == [3.0]
    assert [bar.get_height() for bar in shares.patches] == [0.6]
    save_figures(made, compare(made))
    names = {path.name for path in (made.path / "figures").iterdir()}
    assert names == {
        f"{name}.{ending}"
        for name in ("learning-curves", "accuracy", "convergence", "importance", "phases")
        for ending in ("svg", "png")
    }


def test_what_runs_are_compared_by_may_change_afterwards(tmp_path):
    both = SETTINGS | {"held_out_sampled": True}
    made = finished(tmp_path, GREEDY, SAMPLED, settings=both)
    changed = plan_file(tmp_path, seeds=[*range(5)], settings=both, reference="counterfactual", measure="sampled")
    (comparison,) = compare(created(made.path, read_plan(changed)))
    assert (comparison.reference, comparison.measure) == ("counterfactual", "sampled")
    assert comparison.verdicts == {"uniform": "above"}
    with pytest.raises(RunFolderError, match="another plan"):
        created(made.path, read_plan(plan_file(tmp_path, seeds=[0, 1], settings=both)))


@pytest.mark.parametrize("terminal", [False, True])
def test_the_last_words_of_a_run_are_text_whatever_stands_in_them(tmp_path, terminal):
    made = created(tmp_path / "study", read_plan(plan_file(tmp_path, arms={"uniform": None, "a+0.5": {}}, seeds=[0])))
    runs = [Run(arm, 5e-5, 0) for arm in made.plan.arms]
    failed = dict(zip(runs, ("KeyError: '[/INST]'", "[enforce fail at x.cc:672] \x1b[2J gone"), strict=True))
    console = Console(file=io.StringIO(), width=200, force_terminal=terminal, color_system=None)
    with _Display(made, console) as display:
        display.observe(runs, {}, failed)
    show(made, failed, console)
    text = console.file.getvalue()
    for words in ("uniform-5e-05-seed0: KeyError: '[/INST]'", "a+0.5-5e-05-seed0: [enforce fail at x.cc:672] "):
        assert words in text
        assert words.replace(":", " failed,", 1) in text
    assert "\\x1b[2J gone" in text
    assert "\x1b[2J" not in text
    assert any(line.startswith("a+0.5 ") for line in text.splitlines()), "in the table, too"


def test_a_study_that_goes_on_tells_what_was_done_before(tmp_path):
    made = finished(tmp_path, GREEDY)
    said = Console(file=io.StringIO(), width=200)
    folder, failed = study(tmp_path / "plan.yaml", made.path, 1, said)
    runs = len(folder.plan.headline(folder.plan.choose({})))
    assert not failed
    assert said.file.getvalue() == f"{runs} of {runs} runs were done before\n"
