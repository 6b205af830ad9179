"""Names that stay apart: parameters join a benchmark's name only where two entries would otherwise be one.

A document without such a collision reads the same as it always did, so no history is cut by an update.
"""

from collections import Counter
from collections.abc import Hashable, Iterable
from typing import NamedTuple

from server_stub.adapters.documents import is_name


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
