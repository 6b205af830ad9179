"""One result string and the views of it that several formats share, each made when first asked for.

Knows no format. Opens nothing: the text comes in whole, and every view is at most as long as the text.
"""

import re
from functools import cached_property
from typing import Any, Final

import orjson

BYTE_ORDER_MARK: Final = "\ufeff"

# The control sequences of ECMA-48: colours and cursor moves (CSI), titles and links (OSC), character sets, the rest.
# Every branch is bounded by the next escape, so a text full of unfinished sequences is still read in one pass.
_ESCAPES: Final = re.compile(
    r"\x1b(?:\[[0-?]*+[ -/]*+[@-~]|\][^\x07\x1b]*+(?:\x07|\x1b\\)|[ -/]++[0-~]|[0-Z\\^-~])",
)
_CONTROLS: Final = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]++")
_CARRIAGE_RETURNS: Final = re.compile(r"\r++\n?")

# Lists of raw samples are most of a document's bytes and no format reads them: they are checked and left out. By key,
# what their items are.
_NUMBER: Final = frozenset({int, float})
SAMPLES: Final[dict[str, frozenset[type]]] = {
    '"times"': _NUMBER,
    '"exit_codes"': frozenset({int, type(None)}),
    '"samples"': _NUMBER,
    '"data"': _NUMBER,
    '"OriginalValues"': _NUMBER,
}
_DOCUMENT: Final = re.compile(r"[ \t\r\n]*+[{\[]")
_OPENING: Final = re.compile(r"[ \t\r\n]*+:[ \t\r\n]*+(?=\[)")


class NotJson(ValueError):
    """The text is not one JSON document; the message says where it stops being one."""


class Source:
    """A result string. A byte order mark in front is no part of it."""

    def __init__(self, text: str) -> None:
        self.text: Final = text.removeprefix(BYTE_ORDER_MARK)
        self._parsed: tuple[Any, str | None] | None = None

    @cached_property
    def lines(self) -> str:
        r"""The text as a person saw it: no colours, and every line ended by one LF.

        A CR that a progress bar left inside a line ends it too: what stood before was overwritten on the screen.
        """
        text = self.text
        if "\r" in text:
            text = _CARRIAGE_RETURNS.sub("\n", text)
        if "\x1b" in text:
            text = _ESCAPES.sub("", text)
        return text

    @cached_property
    def printable(self) -> str:
        """The text without colours, tabs, CRs and other control characters; only LF ends a line."""
        return _CONTROLS.sub("", _ESCAPES.sub("", self.text))

    @cached_property
    def is_document(self) -> bool:
        """Whether the text can be JSON with a list or an object at its top: a look at its first character."""
        return _DOCUMENT.match(self.text) is not None

    @cached_property
    def skeleton(self) -> str:
        """The text with every list of samples emptied, when it looks like JSON; as JSON it differs in nothing else."""
        return _without_samples(self.text) if self.is_document else self.lines

    @cached_property
    def signs(self) -> str:
        """The shortest view that holds every word of the text: where to look for the sign of a format."""
        return self.lines if "\x1b" in self.text else self.skeleton

    @property
    def document(self) -> Any:
        """The JSON value of `skeleton`. Raises NotJson."""
        if self._parsed is None:
            self._parsed = _parsed(self.skeleton) if self.is_document else (None, "does not begin with { or [")
        value, fault = self._parsed
        if fault is not None:
            raise NotJson(fault)
        return value

    @cached_property
    def whole_document(self) -> Any:
        """The JSON value of the text with its samples. Raises NotJson."""
        if len(self.skeleton) == len(self.text):
            return self.document
        value, fault = _parsed(self.text)
        if fault is not None:
            raise NotJson(fault)
        return value


def _parsed(text: str) -> tuple[Any, str | None]:
    try:
        return orjson.loads(text), None
    except orjson.JSONDecodeError as error:
        return None, f"not JSON: {error}"


def _without_samples(text: str) -> str:
    for key, types in SAMPLES.items():
        if key in text:
            text = _without(text, key, types)
    return text


def _without(text: str, key: str, types: frozenset[type]) -> str:
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
            and (end := _samples_end(text, opening.end(), types))
        ):
            pieces += [text[kept : opening.end()], "[]"]
            kept = after = end
        at = text.find(key, after)
    return "".join([*pieces, text[kept:]])


def _samples_end(text: str, start: int, types: frozenset[type]) -> int | None:
    """Where the list ends that begins at `start`, if it holds nothing but such items.

    Parsed one list at a time, the samples never are in memory together: that makes it faster than the whole document.
    """
    # No further than the next quote, since numbers have none: so no part of the text is searched for every key again.
    quote = text.find('"', start)
    end = text.find("]", start, quote if quote >= 0 else len(text)) + 1
    try:
        return end if end and types.issuperset(map(type, orjson.loads(text[start:end]))) else None
    except orjson.JSONDecodeError:
        return None
