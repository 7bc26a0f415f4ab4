"""From a problem to the prompt that the policy reads: plain text with worked examples, or a chat."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

Style = Literal["auto", "plain", "chat"]
STYLES = ("auto", "plain", "chat")
Message = dict[str, str]
Prompt = str | list[Message]


class Worked(Protocol):
    """The part of a problem that a prompt is made of."""

    @property
    def question(self) -> str: ...
    @property
    def solution(self) -> str: ...


@dataclass(frozen=True)
class Prompting:
    """How a task asks.

    Args:
        chat: Whether prompts are messages for the model's own chat template, or plain text.
        template: Of a plain prompt, with `{question}`. A worked solution continues it.
        instruction: What a chat's user says after the question.
        asks: What a chat's user says, with `{question}` and `{instruction}`.
        replies: What its assistant says, with `{question}` and `{solution}`.
        ends: Where a completion of a plain prompt ends; None: where it asks the next question.
        examples: Problems that are shown with their solutions first.
        system: A chat's system message.
        system_role: Whether the chat template takes one; else it stands at the head of the first user message.
    """

    chat: bool
    template: str
    instruction: str
    asks: str = "{question}\n{instruction}"
    replies: str = "{solution}"
    ends: tuple[str, ...] | None = None
    examples: Sequence[Worked] = ()
    system: str | None = None
    system_role: bool = True

    def of(self, problem: Worked) -> Prompt:
        if not self.chat:
            worked = [self.template.format(question=one.question) + one.solution for one in self.examples]
            return "\n\n".join([*worked, self.template.format(question=problem.question)])
        messages = []
        for one in self.examples:
            messages += [_message("user", self._asks(one)), _message("assistant", self.worked(one))]
        messages.append(_message("user", self._asks(problem)))
        if self.system is None:
            return messages
        if self.system_role:
            return [_message("system", self.system), *messages]
        return [_message("user", f"{self.system}\n\n{messages[0]['content']}"), *messages[1:]]

    def worked(self, problem: Worked) -> str:
        """The problem's own solution, as a completion."""
        if not self.chat:
            return problem.solution
        return self.replies.format(question=problem.question, solution=problem.solution).strip()

    @property
    def stops(self) -> tuple[str, ...]:
        """Texts at which a completion of a plain prompt ends: a policy that only continues text begins the next one."""
        if self.chat:
            return ()
        return self.ends if self.ends is not None else ("\n" + self.template.partition("{question}")[0].strip(),)

    def _asks(self, problem: Worked) -> str:
        return self.asks.format(question=problem.question, instruction=self.instruction).strip()


def _message(role: str, content: str) -> Message:
    return {"role": role, "content": content}
