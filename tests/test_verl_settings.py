"""What a verl configuration may say about credit, and the doctor where verl is not; no verl is needed for either."""

import json
import subprocess
import sys
from dataclasses import fields
from importlib.metadata import PackageNotFoundError

import pytest
from typer.testing import CliRunner

import spancredit as sc
from spancredit.cli import app
from spancredit.errors import ConfigError, UnknownNameError
from spancredit.training.verl import doctor
from spancredit.training.verl.settings import VERLS, at, credit_config, forgotten, obstacles, without_effect

TREE = {
    "credit": {"mode": "counterfactual"},
    "algorithm": {"use_kl_in_reward": False},
    "distillation": {"enabled": False},
    "actor_rollout_ref": {
        "rollout": {"temperature": 0.7},
        "actor": {"policy_loss": {"loss_mode": "vanilla"}},
    },
    "trainer": {"use_v1": True, "v1": {"trainer_mode": "spancredit"}},
}


def changed(path, value):
    """The tree with another value at a dotted path."""
    tree = json.loads(json.dumps(TREE))
    node = tree
    *parents, last = path.split(".")
    for name in parents:
        node = node.setdefault(name, {})
    node[last] = value
    return tree


def test_settings_are_read_under_credit_and_the_temperature_is_verls():
    config = credit_config(changed("credit", {"mode": "random", "boost": 3, "seed": 4}))
    assert config == sc.CreditConfig(mode="random", boost=3, seed=4, temperature=0.7)


def test_without_a_section_the_defaults_hold():
    assert credit_config(changed("credit", None)) == sc.CreditConfig(temperature=0.7)


@pytest.mark.parametrize("name", [field.name for field in fields(sc.CreditConfig) if field.name not in VERLS])
def test_every_setting_is_taken(name):
    default = getattr(sc.CreditConfig(), name)
    assert getattr(credit_config(changed(f"credit.{name}", default)), name) == default


def test_an_unknown_setting_is_refused_with_the_nearest():
    with pytest.raises(UnknownNameError, match=r"unknown setting under credit 'bost'; .* Did you mean 'boost'\?"):
        credit_config(changed("credit.bost", 2))


@pytest.mark.parametrize("name", VERLS)
def test_what_verl_sets_is_not_set_twice(name):
    with pytest.raises(ConfigError, match=rf"credit\.{name} is set, which is taken from actor_rollout_ref\.rollout"):
        credit_config(changed(f"credit.{name}", 1.0))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("intervention", "attention"),
        ("horizon", 8),
        ("budget", 0.1),
        ("scorer", "entropy"),
        ("scorer", "attention"),
        ("scorer", "gradient"),
    ],
)
def test_what_needs_the_policy_itself_is_refused(name, value):
    with pytest.raises(ConfigError, match=f"{name} {value!r} needs the policy itself"):
        credit_config(changed(f"credit.{name}", value))


def test_a_section_that_is_no_section_is_refused():
    with pytest.raises(ConfigError, match="credit is 'counterfactual'; expected settings under it"):
        credit_config(changed("credit", "counterfactual"))


def test_a_wrong_temperature_of_verls_is_refused():
    with pytest.raises(ConfigError, match="temperature is 0"):
        credit_config(changed("actor_rollout_ref.rollout.temperature", 0))


def test_nothing_stands_in_the_way_of_a_plain_configuration():
    assert obstacles(TREE) == []
    assert without_effect(TREE) == []


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("actor_rollout_ref.actor.policy_loss.loss_mode", "geo_mean", "weights of mean 1 cancel out"),
        ("algorithm.use_kl_in_reward", True, "expected actor_rollout_ref.actor.use_kl_loss"),
        ("distillation.enabled", True, "expected no distillation"),
    ],
)
def test_what_cannot_carry_credit_is_named(path, value, says):
    (sentence,) = obstacles(changed(path, value))
    assert sentence.startswith(path)
    assert says in sentence
    uniform = changed(path, value) | {"credit": {"mode": "uniform"}}
    assert obstacles(uniform) == []


@pytest.mark.parametrize("mode", ["sync", "colocate_async", "separate_async"])
def test_a_mode_that_trains_without_credit_is_named(mode):
    (sentence,) = without_effect(changed("trainer.v1.trainer_mode", mode))
    assert f"{mode!r}, which trains without credit; expected 'spancredit'" in sentence


def test_the_old_trainer_is_named_once():
    tree = changed("trainer.use_v1", False)
    tree["trainer"]["v1"]["trainer_mode"] = "sync"
    (sentence,) = without_effect(tree)
    assert sentence.startswith("trainer.use_v1 is False")


@pytest.mark.parametrize("launch", [("-m", "verl.trainer.main_ppo"), ("/site-packages/verl/trainer/main_ppo.py",)])
@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (("+credit.mode=counterfactual",), "trainer_mode is 'sync', which trains without credit"),
        (("++credit={mode: random}", "trainer.v1.trainer_mode=colocate_async"), "trainer_mode is 'colocate_async'"),
        (("trainer.v1.trainer_mode=spancredit", "+credit.seed=1", "trainer.use_v1=False"), "use_v1 is False"),
        (("trainer.v1.trainer_mode=spancredit", "+credit.seed=1"), None),
        (("trainer.v1.trainer_mode='spancredit'", "+credit.seed=1", "data.x='a=b'"), None),
        (("trainer.v1.trainer_mode=colocate_async", "data.credits=1"), None),
        (("--config-name=mine", "+credit.seed=1"), None),
        (("trainer.v1={trainer_mode:spancredit}", "+credit.mode=counterfactual"), None),
        (("trainer={v1:{trainer_mode:spancredit}}", "+credit.mode=counterfactual"), None),
        (("trainer.v1.trainer_mode=${oc.env:MODE}", "+credit.mode=counterfactual"), None),
        (("trainer.v1.trainer_mode='${oc.env:MODE}'", "+credit.seed=1", "trainer.use_v1=False"), "use_v1 is False"),
        (("trainer.v1.sampler={kind:x}", "+credit.seed=1"), "trainer_mode is 'sync'"),
    ],
)
def test_a_command_that_sets_credit_and_would_train_without_is_noticed(launch, overrides, says):
    sentence = forgotten(["python", *launch, *overrides])
    assert sentence is None if says is None else says in sentence


def test_other_commands_are_nobodys_business():
    assert forgotten(["python", "-m", "spancredit", "doctor", "--verl", "+credit.mode=counterfactual"]) is None


def test_a_path_that_is_not_there_has_the_default():
    assert at(TREE, "trainer.v2.mode", "none") == "none"
    assert at(TREE, "trainer.use_v1.more", "none") == "none"


def test_the_doctor_says_that_verl_is_not_installed(monkeypatch):
    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(doctor, "version", missing)
    assert doctor.examine([]) == [
        doctor.Finding(False, "verl is not installed here; docs/verl.md says how, in an environment of its own.")
    ]
    shown = CliRunner().invoke(app, ["doctor", "--verl"])
    assert (shown.exit_code, shown.stdout) == (
        1,
        "wrong verl is not installed here; docs/verl.md says how, in an environment of its own.\n",
    )
    plain = CliRunner().invoke(app, ["doctor", "--verl", "--json"])
    told = json.loads(plain.stdout)
    assert (told["ok"], told["silent"], told["measured"]) == (False, [], None)
    ((severity, name, text),) = [(one["severity"], one["name"], one["text"]) for one in told["findings"]]
    assert (severity, name) == ("error", "verl")
    assert text == "verl is not installed here; docs/verl.md says how, in an environment of its own."


@pytest.mark.parametrize("flags", [["--strict"], ["--prompts", "4"]])
def test_what_is_for_a_trial_is_refused_where_the_doctor_makes_none(flags):
    refused = CliRunner().invoke(app, ["doctor", "--verl", *flags])
    assert isinstance(refused.exception, ConfigError)
    assert str(refused.exception) == f"{flags[0]} is for a trial, and --verl makes none; expected --verl without it."


def without_trl(*arguments):
    """The command line as it is in verl's environment."""
    code = "import sys; sys.modules['trl'] = None; from spancredit.cli import main; main()"
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120)


@pytest.mark.slow
def test_the_doctor_needs_no_trl():
    done = without_trl("doctor", "--help")
    assert done.returncode == 0, done.stderr
    assert "--verl" in done.stdout


@pytest.mark.slow
def test_training_without_trl_is_one_sentence():
    done = without_trl("train", "--max_steps", "1")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "this command trains with TRL, which is not installed" in done.stderr
