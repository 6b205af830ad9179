"""Which files a job asked for, and how they are written down. Pure: knows paths, patterns and bytes, opens nothing."""

import base64
import posixpath
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from runner_protocol.results import CollectedFile, FileEncoding

# As Go's `io/fs.FileMode` has them, which is what the engine sends. Source: pkg.go.dev/io/fs#FileMode.
GO_DIRECTORY = 1 << 31
GO_SYMLINK = 1 << 27
GO_KINDS = (
    (1 << 26, "a device"),
    (1 << 25, "a FIFO"),
    (1 << 24, "a socket"),
    (1 << 21, "a device"),
    (1 << 19, "no regular file"),
)

PATTERN_CHARS = frozenset("*?[")
# The longest character in UTF-8 has four bytes; a cut through it leaves at most three.
UTF8_CUT_BYTES_MAX = 3


@dataclass(frozen=True, slots=True)
class Want:
    """One entry of `file_paths`."""

    asked: str
    """As the job wrote it."""
    path: str
    """Absolute, without `..`. For a pattern: its longest parent without one."""
    pattern: tuple[str, ...] = ()
    """Path segments below `path` to match; none: `path` itself is meant."""

    def matches(self, path: str) -> bool:
        """Whether a file at `path` is asked for. A plain directory asks for everything below it."""
        if not self.pattern:
            return True
        below = posixpath.relpath(path, self.path).split("/")
        return segments_match(self.pattern, below)


def want(asked: str, workdir: str) -> Want:
    """Read one entry, relative to the image's working directory. `**` is any depth; `*`, `?`, `[…]` are in a name."""
    absolute = posixpath.normpath(posixpath.join("/", workdir or "/", asked))
    segments = absolute.lstrip("/").split("/")
    fixed = next((at for at, segment in enumerate(segments) if PATTERN_CHARS & set(segment)), len(segments))
    return Want(asked=asked, path="/" + "/".join(segments[:fixed]), pattern=tuple(segments[fixed:]))


def segments_match(pattern: tuple[str, ...], path: Iterable[str]) -> bool:
    """Whether the whole path matches. In steps of pattern × path, whatever a hostile pattern or name tries."""
    reached = _closure({0}, pattern)
    for segment in path:
        stay = {at for at in reached if at < len(pattern) and pattern[at] == "**"}
        step = {at + 1 for at in reached if at < len(pattern) and fnmatchcase(segment, pattern[at])}
        reached = _closure(stay | step, pattern)
    return len(pattern) in reached


def _closure(reached: set[int], pattern: tuple[str, ...]) -> set[int]:
    """Also the places that a `**` matching nothing leads to."""
    for at in range(len(pattern)):
        if at in reached and pattern[at] == "**":
            reached.add(at + 1)
    return reached


def odd_kind(mode: int) -> str | None:
    """What a file is in words, where it is neither regular nor a directory nor a link."""
    return next((word for bit, word in GO_KINDS if mode & bit), None)


def printable(path: str) -> str:
    """A name as it can stand in JSON: bytes that are not UTF-8 become `\\xff`."""
    return path.encode(errors="surrogateescape").decode(errors="backslashreplace")


def collected(path: str, size_bytes: int, content: bytes | None) -> CollectedFile:
    """One file for the report: text where it is UTF-8, else base64; none of it where only the size was asked for."""
    path = printable(path)
    if content is None:
        return CollectedFile(path=path, size_bytes=size_bytes)
    dropped = max(0, size_bytes - len(content))
    text = _text(content, cut=dropped > 0)
    if text is not None:
        dropped = max(0, size_bytes - len(text.encode()))
        return CollectedFile(path=path, size_bytes=size_bytes, content=text, dropped_bytes=dropped)
    packed = base64.b64encode(content).decode()
    return CollectedFile(
        path=path, size_bytes=size_bytes, encoding=FileEncoding.BASE64, content=packed, dropped_bytes=dropped
    )


def _text(content: bytes, *, cut: bool) -> str | None:
    """As UTF-8; a cut may fall inside the last character, which then goes too."""
    for spare in range(1 + (UTF8_CUT_BYTES_MAX if cut else 0)):
        try:
            return content[: len(content) - spare].decode()
        except UnicodeDecodeError:
            continue
    return None
