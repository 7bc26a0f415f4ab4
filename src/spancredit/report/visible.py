"""What a model wrote, with the characters that would act written out, so that a terminal or a page only shows them."""

import re
from typing import Any

# Control characters but line breaks and tabs (a terminal obeys escape sequences, a carriage return overwrites), those
# that turn the direction of writing, separators of lines that are none, and halves of characters.
ACTING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")


def visible(text: str) -> str:
    """The text with every acting character as its escape, such as `\\x1b` for the one that begins a colour."""
    return ACTING.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def visible_json(text: str) -> str:
    """JSON that says the same: what may stand in its strings as it is and would act there, escaped the way of JSON."""
    return ACTING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def shown(value: Any) -> Any:
    """For templates: text, and text alone, with its acting characters written out."""
    return visible(value) if type(value) is str else value
