"""From completions, models and errors to the doctor's facts: each is what it says, on cases made for it."""

from dataclasses import replace

import pytest
import torch
from toy_models import char_tokenizer, random_toy

import spancredit as sc
from spancredit.commands.checked import parse_checked
from spancredit.commands.doctor_job import job_of, trial_arguments
from spancredit.doctor.compare import compared, dropouts_of, training_noise
from spancredit.doctor.costs import alternatives
from spancredit.doctor.facts import CUT_OFF
from spancredit.doctor.failure import refused
from spancredit.doctor.observe import observed
from spancredit.doctor.rollouts import tried
from spancredit.doctor.setups import setup_of
from spancredit.doctor.texts import answer_text, cut_off, foreign, retokenised, why_missing
from spancredit.errors import ConfigError, ModelError
from spancredit.models import load_policy
from spancredit.report.spaced import spaced
from spancredit.text.align import align
from spancredit.text.locate import locate_reasoning
from spancredit.types import Rollout

OWN = r"(?s)####.*"


@pytest.mark.parametrize(
    ("text", "truncated", "pattern", "why"),
    [
        ("so 2 + 3 =", False, None, "no marker"),
        ("so 2 + 3 =", True, None, CUT_OFF),
        ("\n \n", True, None, "no text"),
        ("it is 5.\n####", False, None, "a marker and nothing behind it"),
        (r"it is \boxed{}", False, None, "a marker and nothing behind it"),
        ("The answer is: five", False, None, "words for an answer and no number behind them"),
        ("#### 5", False, "Answer: (.*)", "no match of answer_pattern"),
        ("Answer: ", False, "Answer: (.*)", "an empty match of answer_pattern"),
    ],
)
def test_why_a_completion_has_no_answer(text, truncated, pattern, why):
    assert why_missing(text, truncated, pattern) == why


def test_a_completion_that_ends_on_the_last_token_is_not_cut_off():
    assert cut_off([5, 6, 7], 3, {1})
    assert not cut_off([5, 6, 1], 3, {1})
    assert not cut_off([5, 6], 3, {1})


@pytest.mark.parametrize(
    ("pattern", "answer", "inside"),
    [(None, "5", []), (OWN, "#### 5<eos>", ["<eos>", "####"]), (r"answer is \d+", None, [])],
)
def test_what_stands_inside_an_answer_beside_its_value(policy, pattern, answer, inside):
    tokenizer = policy[1]
    ids = [*tokenizer(" Ana has 2 + 3 = 5 eggs.\n#### 5")["input_ids"], tokenizer.eos_token_id]
    _, found = locate_reasoning(0, Rollout([5], ids), tokenizer, sc.CreditConfig(answer_pattern=pattern))
    aligned = align(tokenizer, ids)
    assert (answer_text(aligned, found) or "").strip() == (answer or "")
    assert found is None or foreign(aligned, found) == inside


def test_ids_that_their_text_does_not_give_again_are_shown_beside_those_it_gives(policy):
    tokenizer = policy[1]
    once = tokenizer(" Ana has 12 eggs.")["input_ids"]
    assert retokenised(tokenizer, [*once, tokenizer.eos_token_id]) is None
    letters = [tokenizer(letter)["input_ids"][0] for letter in "Ana"]
    assert retokenised(tokenizer, letters) == "sampled 'n' 'a', from the text 'na'"


def scored(model, tokenizer, shift=0.0):
    """A `score` whose numbers are moved by `shift` where the scorer is not the definition."""

    def score(rollouts, config):
        credits = sc.assign_credit(model, tokenizer, rollouts, config)
        if config.scorer == "sequential":
            return credits
        moved = [[replace(span, drop=span.drop + shift) for span in one.spans] for one in credits]
        return [replace(one, spans=tuple(spans)) for one, spans in zip(credits, moved, strict=True)]

    return score


def rollouts_of(tokenizer, *texts):
    return [Rollout(tokenizer("2 + 3?")["input_ids"], tokenizer(text)["input_ids"]) for text in texts]


def test_the_scorer_is_held_to_the_definition_and_an_error_of_it_is_found():
    model, tokenizer = random_toy(), char_tokenizer()
    some = rollouts_of(tokenizer, *(f"so 2 + {n} = {2 + n}. Then {n} + 1 = {n + 1}.\n#### 5" for n in range(9)))
    right = compared(scored(model, tokenizer), some, sc.CreditConfig(), torch.float32)
    assert right is not None
    assert (right.rollouts, right.beyond) == (4, 0)
    assert right.largest < 1e-4
    assert right.numbers > 2 * right.rollouts  # each answer's clean one, and one a span
    wrong = compared(scored(model, tokenizer, shift=0.01), some, sc.CreditConfig(), torch.float32)
    assert wrong is not None
    assert wrong.beyond == wrong.numbers - wrong.rollouts
    assert wrong.largest == pytest.approx(0.01, abs=1e-4)
    assert compared(scored(model, tokenizer), [], sc.CreditConfig(), torch.float32) is None


def test_a_few_of_many_are_the_ends_and_what_lies_evenly_between():
    assert spaced(range(10), 4) == [0, 3, 6, 9]
    assert spaced([5, 6], 4) == [5, 6]
    assert spaced(range(24), 16) == sorted(set(spaced(range(24), 16)))
    assert (spaced(range(3), 1), spaced(range(3), 0)) == ([0], [])


def test_dropout_is_named_and_what_it_does_is_measured(policy):
    (rollout,) = rollouts_of(policy[1], " Ana has 2 + 3 = 5 eggs.\n#### 5")
    model, _ = policy
    assert dropouts_of(model) == {}
    assert training_noise(model, rollout, 1.0, seed=0) == 0.0
    noisy, _ = load_policy("bundled", attention_dropout=0.2)
    assert dropouts_of(noisy) == {"attention_dropout": 0.2}
    state = torch.random.get_rng_state()
    assert training_noise(noisy, rollout, 1.0, seed=0) > 0.01
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not any(module.training for module in noisy.modules())
    layer = torch.nn.Sequential(torch.nn.ModuleDict({"resid_dropout": torch.nn.Dropout(0.3)}), torch.nn.Dropout(0.0))
    assert dropouts_of(layer) == {"resid_dropout": 0.3}


@pytest.mark.slow
def test_a_trial_changes_no_weight_and_its_facts_are_those_of_its_batches(tmp_path):
    job = job_of(["--num_generations", "4", "--difficulty", "easy", "--seed", "3"], 2, str(tmp_path))
    before = {name: value.clone() for name, value in job.model.state_dict().items()}
    trial = tried(job)
    assert all(torch.equal(value, before[name]) for name, value in trial.trainer.model.state_dict().items())
    assert [len(batch.rollouts) for batch in trial.batches] == [8, 8]
    assert min(trial.cost.generation, trial.cost.training) > 0
    assert trial.cost.scored == sum(bool(one.spans) for one in trial.batches[-1].credits)

    facts = observed(job, trial)
    assert [one.group for one in facts.completions] == [i // 4 for i in range(16)]
    assert [one.reward for one in facts.completions] == [r for batch in trial.batches for r in batch.rewards]
    assert [one.reason for one in facts.completions] == [c.reason for batch in trial.batches for c in batch.credits]
    assert any(one.reason == "zero_advantage" and one.drops for one in facts.completions)  # measured all the same
    assert not any(one.alone == "zero_advantage" for one in facts.completions)
    assert all(one.text.endswith(one.answer) for one in facts.completions if one.answer)
    assert facts.cost is not None
    assert facts.cost.full > 0
    assert facts.memory is not None
    assert facts.memory.tokens > sum(one.cost.tokens for batch in trial.batches for one in batch.credits)

    other = setup_of(replace(job, had_pad=False, name="chat/Gem-1B-it"), trial)
    assert (other.pad, other.chat_signs) == ("none", ["it"])  # the folder's name says nothing
    job.tokenizer.pad_token = job.tokenizer.eos_token
    assert setup_of(job, trial).pad == "end"
    job.asked.top_k, job.asked.min_p = 20, 0.1
    assert setup_of(job, trial).bent == ["top_k=20", "min_p=0.1"]
    job.asked.generation_kwargs = {"min_p": 0.0, "max_new_tokens": 9, "temperature": 0.5, "no_repeat_ngram_size": 3}
    assert setup_of(job, trial).bent == ["top_k=20", "temperature=0.5", "no_repeat_ngram_size=3"]
    job.asked.generation_kwargs, job.asked.top_k, job.asked.min_p = None, 0, None
    preset = trial.trainer.model.generation_config
    preset.no_repeat_ngram_size, preset.min_p, preset.repetition_penalty = 2, 0.2, 1.3  # TRL sets the last
    assert setup_of(job, trial).bent == ["min_p=0.2", "no_repeat_ngram_size=2"]
    job.asked.use_vllm = True
    assert setup_of(job, trial).bent == []
    job.asked.use_vllm = False

    assert alternatives(replace(trial, cost=replace(trial.cost, credit=1e-3)), job.trial.credit) == []
    dear = replace(trial, cost=replace(trial.cost, credit=100 * trial.cost.rest))
    budget, horizon = alternatives(dear, job.trial.credit)
    assert (budget.setting, horizon.setting) == ("credit_budget=0.1", "credit_horizon=64")
    assert budget.share <= 0.1 + 1e-9
    assert budget.measured < budget.of == horizon.measured == trial.cost.scored
    assert horizon.methods == ["horizon_64"]
    (packed,) = alternatives(dear, replace(job.trial.credit, scorer="sequential"))
    assert packed.setting == "credit_scorer=packed"
    assert alternatives(dear, replace(job.trial.credit, influence=True)) == []
    assert alternatives(dear, replace(job.trial.credit, horizon=3)) == []
    assert facts.setup.ends == ["<eos>"]
    assert (facts.setup.pad, facts.setup.has_template, facts.setup.chat_signs) == ("own", False, [])


@pytest.mark.parametrize(("micro", "prompts", "expected"), [(128, 4, (32, 1)), (12, 4, (8, 4)), (3, 1, (2, 4))])
def test_a_backward_of_the_trial_holds_as_many_completions_as_the_settings_allow(tmp_path, micro, prompts, expected):
    flags = ["--per_device_train_batch_size", str(micro), "--gradient_accumulation_steps", "8", "--num_iterations", "3"]
    _, arguments, _ = parse_checked(None, [*flags, "--save_steps", "24", "--dynamic_sampling_rounds", "2"])
    trial = trial_arguments(arguments, prompts, str(tmp_path))
    assert (trial.per_device_train_batch_size, trial.gradient_accumulation_steps) == expected
    assert trial.generation_batch_size == prompts * 8
    assert (trial.num_iterations, trial.dynamic_sampling_rounds, trial.learning_rate) == (1, 0, 0.0)
    assert (arguments.num_iterations, arguments.max_steps) == (3, 60)  # what was asked for is left alone


def test_what_training_would_refuse_before_it_starts_is_refused_here(tmp_path):
    with pytest.raises(ConfigError, match="expected the settings of one that is not started"):
        job_of(["--resume"], 4, str(tmp_path))
    lines = tmp_path / "few.jsonl"
    lines.write_text('{"question": "2 + 3?", "answer": "5\\n#### 5"}\n')
    flags = ["--task", "gsm8k", "--dataset", str(lines), "--held_out_dataset", str(lines)]
    with pytest.raises(ConfigError, match="the training set has 1; expected at least 16 problems"):
        job_of([*flags, "--per_device_train_batch_size", "128", "--num_generations", "8"], 4, str(tmp_path))


def named(name, inner):
    """A function of this name, as a traceback shows it, that calls another."""

    def outer():
        inner()

    outer.__code__ = outer.__code__.replace(co_name=name)
    return outer


def raised(error, *names):
    """The error, raised within functions of these names, the outermost first."""

    def innermost():
        raise error

    call = innermost
    for name in reversed(names):
        call = named(name, call)
    with pytest.raises(type(error)) as caught:
        call()
    return caught.value


def test_an_error_is_a_finding_that_says_where_it_came_up():
    ours = refused(raised(ModelError("the model is odd; expected another."), "tried", "assign_credit"))
    assert (ours.severity, ours.name, ours.text) == ("error", "refused", "the model is odd; expected another.")
    theirs = refused(raised(ValueError("two\nlines"), "tried", "training_step"))
    assert theirs.text == "The trial stopped in loss and backward with ValueError: two lines"
    assert theirs.example is not None
    assert theirs.example.endswith("in innermost")
    assert "please report it" in refused(raised(TypeError("x"), "observed", "assign_credit_")).advice


@pytest.mark.parametrize(
    ("names", "where", "what"),
    [
        (("tried", "training_step", "assign_credit"), "scoring", "--credit_max_tokens_per_forward"),
        (("tried", "training_step", "_generate"), "generation", "--max_completion_length"),
        (("tried", "training_step"), "loss and backward", "--gradient_accumulation_steps"),
        (("tried",), "making the trainer", "--per_device_train_batch_size"),
    ],
)
def test_memory_that_is_spent_is_a_finding_with_what_to_lower(names, where, what):
    finding = refused(raised(torch.OutOfMemoryError("CUDA out of memory"), *names))
    assert finding.name == "out_of_memory"
    assert finding.text == f"The device's memory is spent in {where}."
    assert what in finding.advice
