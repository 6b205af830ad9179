"""A call about one project: its transaction first opens the project for whoever calls, then does the rest."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, TypeVar

from fastapi import Depends, Request

from server_stub.access import Scope, actor_of, open_project, user_of
from server_stub.actors import Credential, Right
from server_stub.names import NameId
from server_stub.routes.caller import Caller, ProjectId
from server_stub.state import state_of
from server_stub.store.database import Database
from server_stub.store.tx import Tx

T = TypeVar("T")
Work = Callable[[Scope], T]


@dataclass(frozen=True, slots=True)
class ProjectCall:
    """Who calls about which project."""

    database: Database
    credential: Credential
    named: NameId

    async def read(self, work: Work[T], *, right: Right = Right.VIEW, users_only: bool = False) -> T:
        """Run `work` in the opened project, in one transaction that only reads."""
        return await self.database.read(lambda tx: work(self._open(tx, right, users_only=users_only)))

    async def write(self, work: Work[T], right: Right, *, users_only: bool = False) -> T:
        """Run `work` in the opened project, in one transaction. `users_only`: a project key will not do."""
        return await self.database.write(lambda tx: work(self._open(tx, right, users_only=users_only)))

    def _open(self, tx: Tx, right: Right, *, users_only: bool) -> Scope:
        actor = user_of(tx, self.credential) if users_only else actor_of(tx, self.credential)
        return Scope(tx, actor, open_project(tx, actor, self.named, right))


async def _call(request: Request, caller: Caller, project: ProjectId) -> ProjectCall:
    return ProjectCall(state_of(request).database, caller, project)


Call = Annotated[ProjectCall, Depends(_call)]
"""A call about the `{project}` of a path."""
