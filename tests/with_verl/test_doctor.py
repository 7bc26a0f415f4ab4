"""The doctor where verl is installed, as a user calls it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("verl", reason="verl is not installed: make test-verl")

from runs_of_verl import on_cpu

from spancredit.training.verl import doctor

CREDIT = ("trainer.v1.trainer_mode=spancredit", "+credit.mode=counterfactual")


def called(*arguments, **environment):
    """The exit status of the command, and its findings."""
    done = subprocess.run(
        [sys.executable, "-m", "spancredit", "doctor", "--verl", "--json", *arguments],
        env=on_cpu() | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout, done.stderr
    said = json.loads(done.stdout)
    assert said["ok"] == (done.returncode == 0)
    return done.returncode, said["findings"]


def wrong(findings):
    return [one["text"] for one in findings if one["severity"] == "error"]


def test_a_sound_installation_and_configuration():
    status, findings = called(*CREDIT)
    assert (status, wrong(findings)) == (0, [])
    texts = " ".join(one["text"] for one in findings)
    for part in (f"verl {doctor.TESTED} is installed", "the plugin is loaded", "spancredit is registered", "by pad"):
        assert part in texts


def test_plugins_that_are_switched_off_are_noticed():
    status, findings = called(VERL_USE_EXTERNAL_PLUGINS="none")
    assert status == 1
    assert wrong(findings)[0].startswith("VERL_USE_EXTERNAL_PLUGINS is 'none', so verl loads no spancredit")


def test_a_plugin_that_cannot_be_imported_is_noticed(monkeypatch):
    def broken():
        raise ImportError("no module named transfer_queue")

    point = type("Point", (), {"name": "spancredit", "load": staticmethod(broken), "value": "x"})
    monkeypatch.setattr(doctor, "entry_points", lambda group: [point])
    assert doctor.examine([])[-1] == doctor.Finding(
        False, "the plugin cannot be imported, which verl hides: ImportError: no module named transfer_queue"
    )


def test_a_trl_beside_which_verl_does_not_start_is_noticed(monkeypatch):
    installed = {"verl": doctor.TESTED, "trl": "1.16.0"}
    monkeypatch.setattr(doctor, "version", installed.__getitem__)
    monkeypatch.setitem(sys.modules, "trl", type(sys)("trl"))
    assert "trl 1.16.0 is installed, beside which verl cannot prepare a model" in doctor.examine([])[-1].text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("+credit.mode=counterfactual",), "trainer.v1.trainer_mode is 'sync', which trains without credit"),
        ((*CREDIT, "trainer.use_v1=False"), "verl's old trainer loads no trainer of a plugin"),
        ((*CREDIT, "+credit.bost=2"), "Did you mean 'boost'?"),
        ((*CREDIT, "algorithm.use_kl_in_reward=True"), "algorithm.use_kl_in_reward is set"),
        ((*CREDIT, "no.such=1"), "verl cannot read this configuration: Could not override 'no.such'"),
    ],
)
def test_what_would_make_credit_wrong_is_named(arguments, says):
    (finding,) = [one for one in doctor.examine(arguments) if not one.ok]
    assert says in finding.text


def test_values_may_come_from_a_file(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(
        "defaults: [ppo_trainer, _self_]\ntrainer: {v1: {trainer_mode: spancredit}}\ncredit: {mode: uniform}\n"
    )
    findings = doctor.examine([str(file)])
    assert findings[-1].text == "the configuration is uniform: verl's own training, nothing is measured."
    assert "unknown setting" in doctor.examine([str(file), "+credit.mod=x"])[-1].text
    assert "cannot read" in doctor.examine([str(tmp_path / "none.yaml")])[-1].text


def test_the_command_in_the_documentation_is_one_that_works():
    text = (Path(__file__).parents[2] / "docs" / "verl.md").read_text()
    command = text.partition("$ python -m verl.trainer.main_ppo ")[2].partition("```")[0]
    arguments = command.replace("\\\n", " ").split()
    assert len(arguments) > 20
    assert [one.text for one in doctor.examine(arguments) if not one.ok] == []
