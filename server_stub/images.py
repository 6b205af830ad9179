"""Image references: `registry/repository:tag@digest`, and the project that one may name.

Follows the grammar of the OCI distribution spec (names, tags) and image spec (digests). Accepts any registry, and asks
none whether an image is there. An all-digit tag behind a slash is a tag, as for container engines; the reference server
takes it for a port.
"""

import re
from dataclasses import dataclass
from typing import Final

from server_stub.names import NameId, parse_resource_id

DEFAULT_REGISTRY: Final = "docker.io"
DEFAULT_TAG: Final = "latest"
REFERENCE_CHARACTERS_MAX: Final = 1024
REPOSITORY_CHARACTERS_MAX: Final = 255

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_REGISTRY = re.compile(r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")


@dataclass(frozen=True, slots=True)
class ImageReference:
    """One image. `tag` is `latest` where neither tag nor digest was given, and None where only a digest was."""

    registry: str
    repository: str
    tag: str | None
    digest: str | None
    project: NameId | None
    """The project that a repository of one segment names, as written: `bench` in `registry.example/bench:v1`."""

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.registry}/{self.repository}{tag}{digest}"


def parse_image(text: str) -> ImageReference:
    """Read an image reference; raise `ValueError` naming the part that breaks its grammar."""
    if not 1 <= len(text) <= REFERENCE_CHARACTERS_MAX:
        raise ValueError(f"an image reference must have 1 to {REFERENCE_CHARACTERS_MAX} characters")
    named, at, digest = text.partition("@")
    name, tag = _split_tag(named)
    registry, path = _split_registry(name)
    _check_grammar(registry, path, tag, digest if at else None)
    implied = "library/" if registry == DEFAULT_REGISTRY and "/" not in path else ""
    return ImageReference(
        registry=registry,
        repository=implied + path,
        tag=tag if tag is not None or at else DEFAULT_TAG,
        digest=digest if at else None,
        project=_project(path),
    )


def _split_tag(named: str) -> tuple[str, str | None]:
    """A colon before the last slash belongs to the registry's port."""
    name, colon, tag = named.rpartition(":")
    return (name, tag) if colon and "/" not in tag else (named, None)


def _split_registry(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    if slash and (first == "localhost" or "." in first or ":" in first):
        return first, rest
    return DEFAULT_REGISTRY, name


def _check_grammar(registry: str, path: str, tag: str | None, digest: str | None) -> None:
    if not _REGISTRY.fullmatch(registry):
        raise ValueError("an image's registry must be a host name or address, optionally with `:` and a port")
    if len(path) > REPOSITORY_CHARACTERS_MAX or not _REPOSITORY.fullmatch(path):
        raise ValueError(
            f"an image's repository must have 1 to {REPOSITORY_CHARACTERS_MAX} characters: "
            "parts of a-z and 0-9, with single `.`, `_`, `__` or hyphens inside, separated by slashes"
        )
    if tag is not None and not _TAG.fullmatch(tag):
        raise ValueError(
            "an image's tag must have 1 to 128 letters, digits, `_`, `.` and `-`, not starting with `.` or `-`"
        )
    if digest is not None and not _DIGEST.fullmatch(digest):
        raise ValueError("an image's digest must be sha256: with 64 or sha512: with 128 lower-case hex digits")


def _project(path: str) -> NameId | None:
    try:
        return parse_resource_id(path)
    except ValueError:
        return None
