"""Decides who may do what with a project. Pure: roles come in, a refusal goes out.

| caller | sees | writes | manages |
| --- | --- | --- | --- |
| anybody | public projects | no | no |
| project key | its project | its project | no |
| viewer | yes | no | no |
| developer | yes | yes | no |
| maintainer, leader of the organization, administrator | yes | yes | yes |

What a caller may not even see is answered as if it were not there.
"""

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Any

from server_stub.errors import ApiError, ForbiddenError, NotFoundError, UnauthorizedError


class Right(IntEnum):
    """What a caller wants to do, each including the ones before it."""

    VIEW = 1
    WRITE = 2
    MANAGE = 3


class Permission(StrEnum):
    """The same as the API names it, in finer words."""

    VIEW = "view"
    CREATE = "create"
    EDIT = "edit"
    DELETE = "delete"
    MANAGE = "manage"
    VIEW_ROLE = "view_role"
    CREATE_ROLE = "create_role"
    EDIT_ROLE = "edit_role"
    DELETE_ROLE = "delete_role"

    @property
    def right(self) -> Right:
        """Which right it takes."""
        if self in (Permission.VIEW, Permission.VIEW_ROLE):
            return Right.VIEW
        return Right.WRITE if self in (Permission.CREATE, Permission.EDIT, Permission.DELETE) else Right.MANAGE


@dataclass(frozen=True, slots=True)
class Actor:
    """Who calls: a user, a project key, or (neither) anybody."""

    user: dict[str, Any] | None = None
    """The user's row."""
    key_project_id: int | None = None
    """The one project of a project key."""

    @property
    def anonymous(self) -> bool:
        """Whether no credential came along."""
        return self.user is None and self.key_project_id is None

    @property
    def user_id(self) -> int | None:
        """Of a user, the row's id."""
        return None if self.user is None else self.user["id"]

    @property
    def admin(self) -> bool:
        """Whether an administrator of the server calls."""
        return self.user is not None and bool(self.user["admin"])


ANYBODY = Actor()

PROJECT_ROLES = {"viewer": Right.VIEW, "developer": Right.WRITE, "maintainer": Right.MANAGE}
ORGANIZATION_ROLES = {"member": Right.VIEW, "leader": Right.MANAGE}


@dataclass(frozen=True, slots=True)
class Standing:
    """How a caller stands to one project."""

    project_id: int
    public: bool
    project_role: str | None = None
    organization_role: str | None = None


def right_of(actor: Actor, standing: Standing) -> int:
    """The greatest right that a caller has; 0: none at all."""
    if actor.admin:
        return Right.MANAGE
    if actor.key_project_id is not None:
        # A key is for one project and nothing else, not even for what anybody may see.
        return Right.WRITE if actor.key_project_id == standing.project_id else 0
    by_role = PROJECT_ROLES.get(standing.project_role or "", 0)
    by_organization = ORGANIZATION_ROLES.get(standing.organization_role or "", 0)
    return max(by_role, by_organization, Right.VIEW if standing.public else 0)


def refusal(actor: Actor, standing: Standing, right: Right) -> ApiError | None:
    """What to answer a caller who wants to use `right`; nothing where the caller has it."""
    if right_of(actor, standing) >= right:
        return None
    if not standing.public and right_of(actor, standing) == 0:
        return NotFoundError("there is no such project")
    if actor.anonymous:
        return UnauthorizedError("a credential is needed to change this project")
    return ForbiddenError("this credential does not allow that for this project")
