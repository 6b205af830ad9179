"""What one visitor may see of what shows many projects at once: the fleet, its queue, and who runs what."""

from dataclasses import dataclass

from server_stub.actors import Actor
from server_stub.store import projects
from server_stub.store.tx import Row, Tx

PRIVATE_MAX = 1000
"""Private projects of one visitor that are told apart; more than that he finds on the projects' page."""


@dataclass(frozen=True, slots=True)
class Eyes:
    """Whose jobs are shown by name. Everything else is there, but says nothing of whose it is."""

    admin: bool
    public: bool
    project_ids: frozenset[int]

    def see(self, job: Row | None) -> bool:
        """Whether a job may be named."""
        if job is None:
            return False
        return self.admin or (self.public and job["visibility"] == "public") or job["project_id"] in self.project_ids


def eyes_of(tx: Tx, actor: Actor) -> Eyes:
    """The eyes of whoever looks."""
    if actor.project_id is not None:
        return Eyes(admin=False, public=False, project_ids=frozenset({actor.project_id}))
    if actor.user is None or actor.admin:
        return Eyes(admin=actor.admin, public=True, project_ids=frozenset())
    return Eyes(admin=False, public=True, project_ids=projects.private_ids_of(tx, int(actor.user["id"]), PRIVATE_MAX))
