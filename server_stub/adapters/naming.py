"""Names of benchmarks: which are usable, and how they stay apart.

Parameters join a name only where two entries would otherwise be one. A document without such a collision reads the
same as it always did, so no history is cut by an update.
"""

from collections import Counter
from collections.abc import Hashable, Iterable
from typing import Final, NamedTuple

NAME_BYTES_MAX: Final = 1024
# Names of at most this many characters need no count of their bytes.
NAME_LENGTH_SAFE: Final = NAME_BYTES_MAX // 4


def is_name(text: str) -> bool:
    """Whether a benchmark can be called this: 1 to 1024 bytes of UTF-8. Nothing is trimmed or folded."""
    return 0 < len(text) <= NAME_LENGTH_SAFE or 0 < len(text.encode(errors="replace")) <= NAME_BYTES_MAX


def are_short(texts: Iterable[str]) -> bool:
    """Whether each of several names, none of them empty, is certainly usable."""
    return max(map(len, texts), default=0) <= NAME_LENGTH_SAFE


class Named(NamedTuple):
    """One entry's name, and what tells it from another entry of that name: `key=value` words, or nothing."""

    base: str
    parameters: str = ""

    @property
    def full(self) -> str:
        """`base [key=value, ...]`, or the base alone when the whole would be too long for a name."""
        whole = f"{self.base} [{self.parameters}]" if self.parameters else self.base
        return whole if is_name(whole) else self.base


def told_apart(named: Iterable[Named]) -> list[str]:
    """A name for each entry, in order: the base, or the full name where one base stands for several parameters."""
    named = list(named)
    variants = Counter(base for base, _ in set(named))
    return [each.full if variants[each.base] > 1 else each.base for each in named]


def words(parameters: Iterable[tuple[str, Hashable]]) -> str:
    """Parameters as they join a name: `size=10, kind=heap`, in the order of the document."""
    return ", ".join(f"{key}={value}" for key, value in parameters)
