"""From the settings of `spancredit train` to a trial of them: the same model, task, rewards and trainer, two steps."""

from collections.abc import Callable
from dataclasses import replace
from tempfile import TemporaryDirectory
from typing import Any

from spancredit.commands.checked import parse_checked
from spancredit.commands.distribution import check_launch
from spancredit.commands.prepare import prepare
from spancredit.commands.quiet import quiet
from spancredit.commands.train_arguments import UnknownFlagError, read_request
from spancredit.doctor.examine import examine, worst_first
from spancredit.doctor.failure import FAILURES, refused
from spancredit.doctor.finding import Finding
from spancredit.doctor.observe import observed
from spancredit.doctor.rollouts import STEPS, Job, tried
from spancredit.doctor.summary import summary
from spancredit.errors import ConfigError, UnknownNameError
from spancredit.training.config import CreditGRPOConfig

OWN_FLAGS = ("--prompts", "--strict", "--verl", "--json")

Report = tuple[list[Finding], list[str], dict[str, Any] | None]


def checked(argv: list[str], prompts: int, note: Callable[[str], Any] = lambda _: None) -> Report:
    """Findings, the worst first; the checks that found nothing, by name; and what was measured, if it came to that.

    Raises:
        UnknownNameError: for a flag that neither spancredit train nor the doctor has: a wrong command line is no
            finding about a training.
    """
    quiet()
    try:
        with TemporaryDirectory() as folder:
            note("loading model and task")
            job = job_of(argv, prompts, folder)
            note(f"{STEPS} steps of {job.trial.generation_batch_size} completions")
            trial = tried(job)
            note("scoring")
            facts = observed(job, trial)
    except UnknownFlagError as error:
        raise UnknownNameError("flag", error.got, [*error.known, *OWN_FLAGS]) from error
    except FAILURES as error:
        return [refused(error)], [], None
    said = examine(facts)
    silent = [name for name, finding in said.items() if finding is None]
    return worst_first([finding for finding in said.values() if finding is not None]), silent, summary(facts)


def job_of(argv: list[str], prompts: int, folder: str) -> Job:
    """The trial of a job.

    Args:
        argv: Flags of `spancredit train`, `--config FILE.yaml` among them.
        prompts: Prompts of each of its steps.
        folder: Where a trainer may write.

    Raises:
        SpanCreditError: where `spancredit train` would refuse these settings.
    """
    request = read_request(argv)
    if request.resume:
        raise ConfigError("--resume continues a run; expected the settings of one that is not started yet.")
    asked, arguments, model = parse_checked(request.config, request.flags)
    check_launch(arguments)
    if arguments.world_size > 1:
        raise ConfigError(f"{arguments.world_size} processes were started; the doctor expects one, without a launcher.")
    given = prepare(asked, arguments, model)
    return Job(
        name=str(model.model_name_or_path),
        task_name=asked.task,
        model=given.policy,
        tokenizer=given.tokenizer,
        task=given.task,
        rewards=given.rewards,
        functions=given.functions,
        rows=given.rows,
        asked=arguments,
        trial=trial_arguments(arguments, min(prompts, len(given.rows)), folder),
        outcome=asked.measured_outcome,
        had_pad=given.had_pad,
        peft_config=given.peft_config,
    )


def trial_arguments(asked: CreditGRPOConfig, prompts: int, folder: str) -> CreditGRPOConfig:
    """The same settings for a few steps of a few prompts, whose updates change nothing and of which nothing is kept.

    A backward holds as many completions as it would, or what divides the trial's evenly.
    """
    completions = prompts * asked.num_generations
    micro = next(n for n in range(min(asked.per_device_train_batch_size, completions), 0, -1) if completions % n == 0)
    own: dict[str, Any] = {
        "output_dir": folder,
        "max_steps": STEPS,
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": completions // micro,
        "steps_per_generation": completions // micro,
        "generation_batch_size": None,
        "num_iterations": 1,
        "dynamic_sampling_rounds": 0,  # groups without a signal are what is counted
        "learning_rate": 0.0,
        "use_vllm": False,
        "logging_strategy": "steps",
        "logging_steps": 1,
        "logging_first_step": False,
        "log_completions": False,
        "save_strategy": "no",
        "eval_strategy": "no",
        "load_best_model_at_end": False,
        "push_to_hub": False,
        "report_to": "none",
        "disable_tqdm": True,
    }
    return replace(asked, **own)
