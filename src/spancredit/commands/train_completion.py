"""What a shell offers after `spancredit train`: the flags of TRL's parser, and their values where there are few."""

from collections.abc import Sequence
from typing import Any

from typer.core import CompletionItem, TyperCommand


def completions(given: Sequence[str], incomplete: str) -> list[str]:
    """Values of the flag before the cursor, if it has choices; else flags.

    Args:
        given: What stands before the word at the cursor.
        incomplete: As much of that word as there is.
    """
    known = _flags()
    offered = known if incomplete.startswith("-") else known.get(given[-1], ()) if given else ()
    return [one for one in offered if one.startswith(incomplete)]


def _flags() -> dict[str, tuple[str, ...]]:
    """Every flag with its choices; of the two spellings the one with underscores."""
    from trl import ModelConfig, TrlParser

    from spancredit.commands.train_arguments import TaskArguments
    from spancredit.training.config import CreditGRPOConfig

    actions = TrlParser((TaskArguments, CreditGRPOConfig, ModelConfig))._option_string_actions
    own: dict[str, tuple[str, ...]] = {"--config": (), "--resume": (), "--help": ()}
    return own | {
        flag: tuple(map(str, action.choices or ()))
        for flag, action in actions.items()
        if flag.startswith("--") and "-" not in flag[2:]
    }


class TrainCommand(TyperCommand):
    """A command whose flags are known to another parser."""

    def shell_complete(self, ctx: Any, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(one) for one in completions(ctx.args, incomplete)]
