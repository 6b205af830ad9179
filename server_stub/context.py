"""What a run's `context` says about project, branch, commit and machine.

Reads the six known keys and ignores all others. A value that cannot be used is dropped, never refused: the context is a
hint of the client, and the run may name everything itself. Nothing of it is stored.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from server_stub.names import (
    RESOURCE_NAME_BYTES_MAX,
    NameId,
    parse_branch_id,
    parse_git_hash,
    parse_resource_name,
    parse_resource_name_id,
    slug_of,
)

T = TypeVar("T")

ROOT: Final = "bencher.dev/v0"
PROJECT_NAME_DEFAULT: Final = "Project"

# With a space between each two, 64 characters in all: the length of a slug.
_SLUG_PARTS: Final = (("repo/name", 42), ("repo/hash", 7), ("testbed/fingerprint", 13))


@dataclass(frozen=True, slots=True)
class ContextFacts:
    """What could be used. `project_slug` is None where nothing in the context could name a project."""

    project_name: str
    project_slug: str | None
    branch: NameId | None
    hash: str | None
    testbed: NameId | None


def read_context(context: Mapping[str, str]) -> ContextFacts:
    """Return what a context says."""
    parts = (context.get(f"{ROOT}/{key}", "")[:length] for key, length in _SLUG_PARTS)
    return ContextFacts(
        project_name=_project_name(context.get(f"{ROOT}/repo/name", "")),
        project_slug=slug_of(" ".join(parts)) or None,
        branch=_usable(parse_branch_id, context.get(f"{ROOT}/branch/ref/name")),
        hash=_usable(parse_git_hash, context.get(f"{ROOT}/branch/hash")),
        testbed=_usable(parse_resource_name_id, context.get(f"{ROOT}/testbed/os")),
    )


def _project_name(text: str) -> str:
    """Cut to the size of a name, between characters, so that the rest is a valid name."""
    cut = text.encode(errors="ignore")[:RESOURCE_NAME_BYTES_MAX].decode(errors="ignore").strip()
    return _usable(parse_resource_name, cut) or PROJECT_NAME_DEFAULT


def _usable(parse: Callable[[object], T], value: str | None) -> T | None:
    try:
        return None if value is None else parse(value)
    except ValueError:
        return None
