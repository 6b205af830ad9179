"""One result string and the views of it that several formats share, each made when first asked for.

Knows no format. Opens nothing: the text comes in whole, and every view is at most as long as the text.
"""

import re
from collections.abc import Iterator
from functools import cached_property
from typing import Any, Final

BYTE_ORDER_MARK: Final = "\ufeff"
CHUNK_LENGTH: Final = 2**16
NO_DOCUMENT: Final = "does not begin with { or ["

# The control sequences of ECMA-48: colours and cursor moves (CSI), titles and links (OSC), character sets, the rest.
# Every branch is bounded by the next escape, so a text full of unfinished sequences is still read in one pass.
# These three are compiled when they are first needed: most texts are plain.
_ESCAPES: Final = r"\x1b(?:\[[0-?]*+[ -/]*+[@-~]|\][^\x07\x1b]*+(?:\x07|\x1b\\)|[ -/]++[0-~]|[0-Z\\^-~])"
_CONTROLS: Final = r"[\x00-\x09\x0b-\x1f\x7f]++"
_CARRIAGE_RETURNS: Final = r"\r++\n?"

_DOCUMENT: Final = re.compile(r"[ \t\r\n]*+[{\[]")


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
            text = re.sub(_CARRIAGE_RETURNS, "\n", text)
        if "\x1b" in text:
            text = re.sub(_ESCAPES, "", text)
        return text

    def chunks(self) -> Iterator[str]:
        r"""The lines, many at a time, each with the LF before it: `"".join(source.chunks())` is `"\n" + source.lines`.

        What a reader makes of one chunk and then drops is memory for the next one: it stays in the cache, and no new
        page has to be asked of the kernel. That is worth more than the work on the pattern.
        """
        text = self.lines
        end = _line_end(text, CHUNK_LENGTH)
        yield "\n" + text[:end]
        while end < len(text):
            start, end = end, _line_end(text, end + CHUNK_LENGTH)
            yield text[start:end]

    @cached_property
    def printable(self) -> str:
        """The text without colours, tabs, CRs and other control characters; only LF ends a line."""
        return re.sub(_CONTROLS, "", re.sub(_ESCAPES, "", self.text))

    @cached_property
    def is_document(self) -> bool:
        """Whether the text can be JSON with a list or an object at its top: a look at its first character."""
        return _DOCUMENT.match(self.text) is not None

    @cached_property
    def signs(self) -> str:
        """The shortest view that holds every word of the text: where to look for the sign of a format."""
        return self.skeleton if self.is_document and "\x1b" not in self.text else self.lines

    @cached_property
    def skeleton(self) -> str:
        """A document without its samples; as JSON it differs in nothing else."""
        # The JSON parser is imported for documents only, here and below: it takes as long as reading a small text.
        from server_stub.adapters.samples import without_samples

        return without_samples(self.text)

    @property
    def document(self) -> Any:
        """The JSON value of `skeleton`. Raises NotJson."""
        if self._parsed is None:
            self._parsed = _parsed(self.skeleton) if self.is_document else (None, NO_DOCUMENT)
        return _value(*self._parsed)

    @cached_property
    def whole_document(self) -> Any:
        """The JSON value of the text with its samples. Raises NotJson."""
        return self.document if len(self.skeleton) == len(self.text) else _value(*_parsed(self.text))


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end


def _parsed(text: str) -> tuple[Any, str | None]:
    import orjson

    try:
        return orjson.loads(text), None
    except orjson.JSONDecodeError as error:
        return None, f"not JSON: {error}"


def _value(value: Any, fault: str | None) -> Any:
    if fault is not None:
        raise NotJson(fault)
    return value
