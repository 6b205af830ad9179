"""Decides what a run's start point does to its branch: keep its head, or make a head, and from where.

Looks nothing up: the caller resolves the start point to a version first (unknown branches and heads without versions
resolve to none, which is no error) and clones history afterwards.
"""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID


class HeadMove(StrEnum):
    """What happens to a branch."""

    KEEP = "keep"
    """The current head takes the report."""
    CREATE = "create"
    """The branch is made, with its first head."""
    REPLACE = "replace"
    """A new head replaces the current one, whose alerts fall silent."""


@dataclass(frozen=True, slots=True)
class StartPoint:
    """A version on a branch, as far as it bears on the decision."""

    branch: UUID
    hash: str | None


@dataclass(frozen=True, slots=True)
class KnownBranch:
    """A branch that exists. `start_point` is what its current head was made from."""

    start_point: StartPoint | None


@dataclass(frozen=True, slots=True)
class Decision:
    """The move, and what the new head begins from: None means an empty head, or that there is no new head."""

    move: HeadMove
    start_point: StartPoint | None = None


def decide(branch: KnownBranch | None, resolved: StartPoint | None, *, reset: bool) -> Decision:
    """Return what to do for a branch (None: missing), the start point that the request resolved to, and its `reset`.

    Only what was resolved counts: changing `max_versions` or `clone_thresholds` alone never makes a new head.
    """
    if branch is None:
        return Decision(HeadMove.CREATE, resolved)
    if reset:
        return Decision(HeadMove.REPLACE, resolved)
    if resolved is None or not _moved(branch.start_point, resolved):
        return Decision(HeadMove.KEEP)
    return Decision(HeadMove.REPLACE, resolved)


def _moved(stored: StartPoint | None, resolved: StartPoint) -> bool:
    """Whether the start point is another one. A version without hash cannot be told from the stored one."""
    if stored is None or stored.branch != resolved.branch:
        return True
    return resolved.hash is not None and stored.hash != resolved.hash
