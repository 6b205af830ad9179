"""A small world for tests of the queue: a project, specs, runners with keys, and jobs in a real database."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any
from uuid import UUID, uuid4

import pytest

from runner_protocol.jobs import Architecture, ClaimedJob, RegistryAuth, Work
from runner_protocol.messages import AgentIdentity, ClaimRequest, Heartbeat, HostState, Progress, ReportEnvelope
from runner_protocol.problems import Stale
from runner_protocol.results import CapturedText, Fault, FaultClass, IterationRecord, Outcome, RunReport, Stage
from runner_protocol.states import JobState
from server_stub.departure import Departure
from server_stub.edits import NewSpec
from server_stub.errors import ConflictError
from server_stub.job_queue import JobQueue
from server_stub.store import jobs, runners, specs
from server_stub.store.database import Database
from server_stub.store.tx import Row, Tx

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


BEAT = Progress(stage=Stage.PULL, fraction=0.5)


@dataclass
class World:
    """A queue on a real database, one spec, one project, and what was given to be parsed."""

    database: Database
    queue: JobQueue
    spec: int
    project: tuple[int, int]
    completed: list[UUID] = field(default_factory=list)

    async def runner(self, name: str = "rack 1", *specs: int) -> Runner:
        return await self.database.write(partial(_runner, name=name, specs=specs or (self.spec,)))

    async def job(self, **members: Any) -> UUID:
        spec_id = members.pop("spec_id", self.spec)
        project = members.pop("project", self.project)
        return await self.database.write(lambda tx: new_job(tx, project, spec_id, **members))

    async def claim(self, runner: Runner, body: ClaimRequest | None = None) -> ClaimedJob | None:
        return await self.claim_as(runner.slug, runner.key, body)

    async def claim_as(
        self, named: str, key: str | None, body: ClaimRequest | None = None, departure: Departure | None = None
    ) -> ClaimedJob | None:
        return await self.queue.wait(await self.queue.arrive(named, key, body or asking()), departure or Departure())

    async def claimed(self, runner: Runner, body: ClaimRequest | None = None) -> ClaimedJob:
        job = await self.claim(runner, body)
        assert job is not None
        return job

    async def beat(self, runner: Runner, job: ClaimedJob) -> bool:
        body = Heartbeat(attempt=job.attempt, progress=BEAT)
        return (await self.queue.beat(runner.slug, runner.key, job.job, body)).cancel

    async def report(self, runner: Runner, report: RunReport) -> JobState:
        envelope = ReportEnvelope(attempt=report.attempt, report=report)
        return (await self.queue.report(runner.slug, runner.key, report.job, envelope)).state

    async def row(self, job: UUID) -> Row:
        row = await self.database.read(partial(jobs.by_uuid, uuid=job))
        assert row is not None
        return row

    async def state(self, job: UUID) -> JobState:
        return JobState((await self.row(job))["state"])

    async def later(self, job: UUID, **columns: int) -> None:
        """Move moments of a job into the past, by so many milliseconds."""
        sets = ", ".join(f"{name} = {name} - {ms}" for name, ms in columns.items())
        await self.database.write(lambda tx: tx.run(f"UPDATE job SET {sets} WHERE uuid = :job", job=str(job)))

    async def until(self, check: Callable[[], bool]) -> None:
        async def probe() -> bool:
            return check()

        await eventually(probe)

    async def stale(self, call: Any) -> Stale | None:
        with pytest.raises(ConflictError) as refused:
            await call
        return refused.value.stale


async def eventually(probe: Callable[[], Awaitable[bool]]) -> None:
    """Ask again until it is so; what takes longer than half a minute never will be."""
    async with asyncio.timeout(30):
        while True:
            if await probe():
                return
            await asyncio.sleep(0.01)


def _runner(tx: Tx, name: str, specs: tuple[int, ...]) -> Runner:
    return new_runner(tx, name, *specs)


async def nobody(_job: UUID) -> None:
    """Parses nothing."""


def done(job: ClaimedJob, outcome: Outcome = Outcome.COMPLETED, why: FaultClass | None = None) -> RunReport:
    fault = Fault(kind=why, stage=Stage.ITERATE, message="so it is") if why else None
    printed = IterationRecord(number=0, exit_code=0, stdout=CapturedText(text="{}"))
    return RunReport(job=job.job, attempt=job.attempt, outcome=outcome, fault=fault, iterations=[printed])
