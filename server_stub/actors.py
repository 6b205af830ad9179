"""Who asks, and what that one may do: credentials by their shape, roles and the rights they hold.

Pure: looks nobody up (see `access`). A credential is never part of a message.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from server_stub.errors import UnauthorizedError

PROJECT_KEY_PREFIX: Final = "bencher_run_"
USER_KEY_PREFIX: Final = "bencher_user_"
RUNNER_KEY_PREFIX: Final = "bencher_runner_"
KEY_CHARACTERS: Final = 30

_KEY = re.compile(rf"[0-9A-Za-z]{{{KEY_CHARACTERS}}}")
_TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


class CredentialKind(StrEnum):
    """What an `Authorization` header holds."""

    NONE = "none"
    PROJECT_KEY = "project key"
    USER_KEY = "user key"
    TOKEN = "API token"  # noqa: S105  # A kind of credential, not one.
    MALFORMED = "malformed"


@dataclass(frozen=True, slots=True, repr=False)
class Credential:
    """A credential as it came in. Prints without its secret."""

    kind: CredentialKind
    secret: str = ""


class Right(StrEnum):
    """What someone wants to do with a project."""

    VIEW = "view"
    CREATE = "create"
    EDIT = "edit"
    DELETE = "delete"
    MANAGE = "manage"


class Role(StrEnum):
    """What a member of a project or of an organization is."""

    VIEWER = "viewer"
    DEVELOPER = "developer"
    MAINTAINER = "maintainer"
    LEADER = "leader"


_DEVELOPER = frozenset({Right.VIEW, Right.CREATE, Right.EDIT, Right.DELETE})
RIGHTS: Final[dict[Role, frozenset[Right]]] = {
    Role.VIEWER: frozenset({Right.VIEW}),
    Role.DEVELOPER: _DEVELOPER,
    Role.MAINTAINER: _DEVELOPER | {Right.MANAGE},
    Role.LEADER: _DEVELOPER | {Right.MANAGE},
}
KEY_RIGHTS: Final = frozenset({Right.VIEW, Right.CREATE, Right.EDIT})
"""What a project key may do in its own project."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks: a user's row, a project key's project, or neither of them (anonymous)."""

    user: dict[str, Any] | None = None
    project_id: int | None = None

    @property
    def anonymous(self) -> bool:
        """Whether nobody is known to ask."""
        return self.user is None and self.project_id is None

    @property
    def user_id(self) -> int | None:
        """The id of a user's row."""
        return None if self.user is None else int(self.user["id"])

    @property
    def admin(self) -> bool:
        """Whether an administrator of the server asks."""
        return self.user is not None and bool(self.user["admin"])


def read_authorization(header: str | None) -> Credential:
    """Read `Authorization: Bearer …`. Another scheme, or nothing behind it, counts as no header."""
    scheme, _, secret = (header or "").strip().partition(" ")
    secret = secret.strip()
    if scheme.lower() != "bearer" or not secret:
        return Credential(CredentialKind.NONE)
    return Credential(_kind_of(secret), secret)


def _kind_of(secret: str) -> CredentialKind:
    kinds = {PROJECT_KEY_PREFIX: CredentialKind.PROJECT_KEY, USER_KEY_PREFIX: CredentialKind.USER_KEY}
    for prefix, kind in kinds.items():
        if secret.startswith(prefix):
            return kind if _KEY.fullmatch(secret.removeprefix(prefix)) else CredentialKind.MALFORMED
    return CredentialKind.TOKEN if _TOKEN.fullmatch(secret) else CredentialKind.MALFORMED


def well_formed(credential: Credential) -> Credential:
    """Return the credential; raise `UnauthorizedError` for one that has no known shape."""
    if credential.kind is CredentialKind.MALFORMED:
        raise UnauthorizedError("the credential is neither a project key, nor a user key, nor an API token")
    return credential
