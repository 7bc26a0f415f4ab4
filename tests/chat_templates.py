"""Chat templates written for the tests, each with what a family's does: what it shows, and what it refuses."""

from copy import deepcopy

from tokenizers_for_tests import byte_level

LOOP = "{% for m in messages %}"
# Qwen: every role, and a system message of its own where none is given.
CHATML = (
    "{% if messages[0].role != 'system' %}<|im_start|>system\nYou help.<|im_end|>\n{% endif %}"
    + LOOP
    + "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# Llama 3: begins with a special token, and strips contents.
HEADERS = (
    "<bos>" + LOOP + "<|h|>{{ m.role }}<|/h|>\n\n{{ m.content | trim }}<|eot|>{% endfor %}"
    "{% if add_generation_prompt %}<|h|>assistant<|/h|>\n\n{% endif %}"
)
ALTERNATES = (
    LOOP + "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
)
# Gemma: refuses a system message by name, and demands that roles alternate.
TURNS = (
    "<bos>{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    + ALTERNATES
    + "<turn>{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content | trim }}</turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<turn>model\n{% endif %}"
)
# Old Mistral: only demands that roles alternate, so a system message is one too many.
INST = (
    "<bos>" + ALTERNATES + "{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
    "{% else %}{{ m.content }}</s>{% endif %}{% endfor %}"
)
# Passes over a system message in silence.
DEAF = LOOP + "{% if m.role != 'system' %}{{ m.role }}: {{ m.content }}\n{% endif %}{% endfor %}assistant:"
REFUSES = "{{ raise_exception('no tools, no chat') }}"


def with_template(template):
    """A small tokenizer with this chat template, or with none."""
    tokenizer = deepcopy(byte_level())
    tokenizer.chat_template = template
    return tokenizer
