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
        examples: Problems that are shown with their solutions first.
        system: A chat's system message.
    """

    chat: bool
    template: str
    instruction: str
    examples: Sequence[Worked] = ()
    system: str | None = None

    def of(self, problem: Worked) -> Prompt:
        if not self.chat:
            worked = [self.template.format(question=one.question) + one.solution for one in self.examples]
            return "\n\n".join([*worked, self.template.format(question=problem.question)])
        messages = [{"role": "system", "content": self.system}] if self.system else []
        for one in self.examples:
            messages += [self._asks(one), {"role": "assistant", "content": one.solution.strip()}]
        return [*messages, self._asks(problem)]

    @property
    def stop(self) -> str | None:
        """Where a completion of a plain prompt ends: a policy that only continues text asks the next question."""
        return None if self.chat else "\n" + self.template.partition("{question}")[0].strip()

    def _asks(self, problem: Worked) -> Message:
        return {"role": "user", "content": f"{problem.question}\n{self.instruction}".strip()}
