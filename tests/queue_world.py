"""A small world for tests of the queue: a project, specs, runners with keys, and jobs in a real database."""

from dataclasses import dataclass
from itertools import count
from uuid import UUID, uuid4

from runner_protocol.jobs import Architecture, RegistryAuth, Work
from runner_protocol.messages import AgentIdentity, ClaimRequest, HostState
from server_stub.edits import NewSpec
from server_stub.store import jobs, runners, specs
from server_stub.store.tx import Tx

_numbers = count(1)


@dataclass(frozen=True)
class Runner:
    """A runner and its key."""

    id: int
    uuid: UUID
    slug: str
    key: str

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.key}"}


def new_spec(tx: Tx, name: str = "small", *, fallback: bool = False) -> int:
    body = NewSpec(name=name, architecture=Architecture.X86_64, cpu=1, memory=1 << 30, disk=1 << 30, fallback=fallback)
    spec_id: int = specs.create(tx, body)["id"]
    return spec_id


def new_runner(tx: Tx, name: str, *spec_ids: int) -> Runner:
    uuid, key = runners.create(tx, name)
    row = runners.find(tx, str(uuid))
    for spec_id in spec_ids:
        runners.add_spec(tx, row, spec_id)
    return Runner(row["id"], uuid, row["slug"], key)


def new_project(tx: Tx, slug: str = "demo") -> tuple[int, int]:
    """An organization and a project of it; their ids."""
    now = tx.now_ms()
    row = (str(uuid4()), slug, slug, now)
    organization = tx.insert("organization", ("uuid", "name", "slug", "created_ms"), [row], returning="id")[0]["id"]
    values = (str(uuid4()), organization, slug, slug, "public", now, now)
    columns = ("uuid", "organization_id", "name", "slug", "visibility", "created_ms", "modified_ms")
    project = tx.insert("project", columns, [values], returning="id")[0]["id"]
    return organization, project


def new_report(tx: Tx, project_id: int) -> int:
    """An empty report on a branch and a testbed of its own."""
    now, name = tx.now_ms(), f"b{next(_numbers)}"
    named = ("uuid", "project_id", "name", "slug", "created_ms", "modified_ms")
    row = (str(uuid4()), project_id, name, name, now, now)
    branch = tx.insert("branch", named, [row], returning="id")[0]["id"]
    testbed = tx.insert("testbed", named, [(str(uuid4()), *row[1:])], returning="id")[0]["id"]
    head = tx.insert("head", ("uuid", "branch_id", "created_ms"), [(str(uuid4()), branch, now)], returning="id")[0][
        "id"
    ]
    version = tx.insert("version", ("head_id", "number"), [(head, 0)], returning="id")[0]["id"]
    columns = ("uuid", "project_id", "head_id", "version_id", "testbed_id", "adapter", "start_s", "end_s", "counts")
    values = (str(uuid4()), project_id, head, version, testbed, "magic", now // 1000, now // 1000, "[]", now)
    made = tx.insert("report", (*columns, "created_ms"), [values], returning="id")
    report_id: int = made[0]["id"]
    return report_id


def new_job(
    tx: Tx,
    project: tuple[int, int],
    spec_id: int,
    *,
    priority: int = 200,
    source_ip: str = "127.0.0.1",
    timeout_s: int = 60,
    auth: RegistryAuth | None = None,
) -> UUID:
    return jobs.enqueue(
        tx,
        project_id=project[1],
        organization_id=project[0],
        report_id=new_report(tx, project[1]),
        spec_id=spec_id,
        work=Work(image="localhost:5000/bench:v1"),
        timeout_s=timeout_s,
        priority=priority,
        source_ip=source_ip,
        registry_auth=auth,
        settings={},
    )


def identity(machine: str = "machine-1") -> AgentIdentity:
    """A newly started agent on a machine."""
    return AgentIdentity(version="0.1.0", instance=uuid4(), machine_id=machine)


def asking(
    agent: AgentIdentity | None = None, *, poll_timeout: int = 1, blocked: list[str] | None = None
) -> ClaimRequest:
    return ClaimRequest(poll_timeout=poll_timeout, agent=agent, state=HostState(blocked=blocked or []))
