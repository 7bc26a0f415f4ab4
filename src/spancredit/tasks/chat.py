"""Chats: from messages to the prompt text that a model's own template makes, and from a completion to its text."""

from collections.abc import Sequence

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from spancredit.errors import ModelError
from spancredit.tasks.prompts import Message, Prompt

Completion = str | Sequence[Message]
PROBE = "spancredit asks whether this is shown"


def render(tokenizer: PreTrainedTokenizerBase, prompt: Prompt) -> str:
    """The prompt's text: a chat up to where the assistant's answer begins, with special tokens; a text as it is.

    Raises:
        ModelError: if the tokenizer has no chat template, or its template refuses these messages.
    """
    if isinstance(prompt, str):
        return prompt
    if tokenizer.chat_template is None:
        raise ModelError("the tokenizer has no chat template; expected one, or prompt_style 'plain'.")
    try:
        return str(tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True))
    except TemplateError as error:
        roles = ", ".join(message["role"] for message in prompt[:4])
        raise ModelError(
            f"the model's chat template refuses the messages of a prompt ({error}); it was given {roles}; expected "
            "prompt_style 'plain', or another model."
        ) from error


def takes_system(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the template shows a system message. Gemma's and old Mistral's raise; others pass over it in silence."""
    chat = [{"role": "system", "content": PROBE}, {"role": "user", "content": "?"}]
    try:
        return PROBE in tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    except TemplateError:
        return False


def said(completion: Completion) -> str:
    """The text of a completion in TRL's forms: a text, or messages, of which the last counts."""
    return completion if isinstance(completion, str) else completion[-1]["content"] or ""
