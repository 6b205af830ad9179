"""OCI references: taken apart, put together, and pointed at a mirror. Pure.

Source of the grammar: github.com/distribution/reference (`regexp.go`), and of the defaults its `normalize.go`.
"""

import re
from dataclasses import dataclass, replace

DEFAULT_REGISTRY = "docker.io"
DEFAULT_TAG = "latest"
REFERENCE_CHARS_MAX = 512

_WORD = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_HOST = re.compile(rf"(?:{_WORD}(?:\.{_WORD})*|\[[0-9a-fA-F:]+\])(?::\d{{1,5}})?", re.ASCII)
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REST = re.compile(
    rf"(?P<repository>{_PART}(?:/{_PART})*)"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?"
    r"(?:@(?P<digest>sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}))?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Reference:
    """Where an image is to be had: registry and repository, by tag or digest."""

    registry: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    @property
    def name(self) -> str:
        """Registry and repository, as the engine takes them."""
        return f"{self.registry}/{self.repository}"

    @property
    def wanted(self) -> str:
        """The digest where there is one, else the tag."""
        return self.digest or self.tag or DEFAULT_TAG

    def __str__(self) -> str:
        return f"{self.name}{'@' if self.digest else ':'}{self.wanted}"

    def at(self, digest: str) -> "Reference":
        """The same image, pinned."""
        return replace(self, tag=None, digest=digest)

    def through(self, mirror: str) -> "Reference":
        """The same image, from `host:port` or `host:port/prefix`."""
        registry, _, prefix = mirror.partition("/")
        return replace(self, registry=registry, repository=f"{prefix.rstrip('/')}/{self.repository}".lstrip("/"))


def parse(text: str) -> Reference | None:
    """Read a reference as Docker does, defaults filled in; none where it is not one."""
    first, slash, rest = text.partition("/")
    registry, rest = (first, rest) if slash and _is_host(first) else (DEFAULT_REGISTRY, text)
    match = _REST.fullmatch(rest) if len(text) <= REFERENCE_CHARS_MAX and _HOST.fullmatch(registry) else None
    if match is None:
        return None
    registry = DEFAULT_REGISTRY if registry == "index.docker.io" else registry
    official = registry == DEFAULT_REGISTRY and "/" not in match["repository"]
    repository = f"library/{match['repository']}" if official else match["repository"]
    return Reference(registry, repository, match["tag"], match["digest"])


def _is_host(first: str) -> bool:
    """A first part is a registry when it could not be a user's name."""
    return "." in first or ":" in first or first == "localhost"
