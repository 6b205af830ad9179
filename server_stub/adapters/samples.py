"""Documents without their samples: lists of raw numbers, most of what some harnesses write, that no format reads.

They are checked, and left out before the document is parsed. Nothing is told about a list that holds anything else: it
stays, and so the parser or a format meets it.
"""

import re
from typing import Annotated, Final, TypeAlias

from msgspec import Meta, MsgspecError
from msgspec.json import Decoder

Checker: TypeAlias = Decoder[list[float]] | Decoder[list[int | None]]

_NUMBERS: Final = Decoder(list[float])
# Of 64 bits, as the parser of documents has them: a longer one is a float for it.
_WHOLE_NUMBERS: Final = Decoder(list[Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None])
# By key, how its list is checked.
SAMPLES: Final[dict[str, Checker]] = {
    '"times"': _NUMBERS,
    '"exit_codes"': _WHOLE_NUMBERS,
    '"samples"': _NUMBERS,
    '"data"': _NUMBERS,
    '"OriginalValues"': _NUMBERS,
}
_OPENING: Final = re.compile(r"[ \t\r\n]*+:[ \t\r\n]*+(?=\[)")


def without_samples(text: str) -> str:
    """The text with every list of samples emptied; as JSON it differs in nothing else."""
    for key, checker in SAMPLES.items():
        if key in text:
            text = _without(text, key, checker)
    return text


def _without(text: str, key: str, checker: Checker) -> str:
    pieces = []
    kept = 0
    at = text.find(key)
    while at >= 0:
        after = at + len(key)
        # A quote behind a backslash stands inside a string: there the word is somebody's data, not a key.
        escaped = at > 0 and text[at - 1] == "\\"
        if (
            not escaped
            and (opening := _OPENING.match(text, after))
            and (end := _samples_end(text, opening.end(), checker))
        ):
            pieces += [text[kept : opening.end()], "[]"]
            kept = after = end
        at = text.find(key, after)
    return "".join([*pieces, text[kept:]])


def _samples_end(text: str, start: int, checker: Checker) -> int | None:
    """Where the list ends that begins at `start`, if it holds nothing but such items.

    Parsed one list at a time, the samples never are in memory together: that makes it faster than the whole document.
    """
    # No further than the next quote, since numbers have none: so no part of the text is searched for every key again.
    quote = text.find('"', start)
    end = text.find("]", start, quote if quote >= 0 else len(text)) + 1
    try:
        checker.decode(text[start:end])
    except (MsgspecError, UnicodeEncodeError):
        return None
    return end
