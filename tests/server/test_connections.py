"""Polls that wait in a seat, over real sockets: a client sees no difference, and what is kept is little."""

import asyncio
import gc
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Self

import pytest
import uvicorn
from agents import until
from queue_world import Runner, new_job, new_project, new_runner, new_spec

from runner_protocol.jobs import ClaimedJob
from server_stub import job_queue
from server_stub.app import create_app
from server_stub.commands import serving as serving_command
from server_stub.commands.serving import Server
from server_stub.connections import Connection, Seat
from server_stub.settings import Settings
from server_stub.state import AppState
from server_stub.store import runner_keys
from server_stub.store.database import Database
from server_stub.store.tx import Tx

pytestmark = pytest.mark.anyio


@dataclass
class Answer:
    """What came over the wire."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Line:
    """One connection of a client that writes its requests by hand."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def to(cls, port: int) -> Self:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    def send(self, method: str, path: str, key: str, body: str = "", *, version: str = "1.1") -> None:
        head = f"{method} {path} HTTP/{version}\r\nhost: server\r\nauthorization: Bearer {key}\r\n"
        self.writer.write(f"{head}content-length: {len(body)}\r\n\r\n{body}".encode())

    async def answer(self) -> Answer:
        async with asyncio.timeout(20):
            first, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines if line)
            body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return Answer(int(first.split()[1]), headers, body)

    async def ended(self) -> bytes:
        async with asyncio.timeout(20):
            return await self.reader.read()

    async def close(self) -> None:
        self.writer.close()
        await asyncio.gather(self.writer.wait_closed(), return_exceptions=True)


@dataclass
class Site:
    """The application behind a real server in this loop, and one runner."""

    server: Server
    state: AppState
    runner: Runner
    spec: int
    project: tuple[int, int]
    lines: list[Line] = field(default_factory=list)

    @property
    def port(self) -> int:
        port: int = self.server.servers[0].sockets[0].getsockname()[1]
        return port

    async def line(self) -> Line:
        self.lines.append(await Line.to(self.port))
        return self.lines[-1]

    def poll(self, line: Line, timeout: int = 60, *, runner: Runner | None = None, version: str = "1.1") -> None:
        runner = runner or self.runner
        body = f'{{"poll_timeout": {timeout}}}'
        line.send("POST", f"/v0/runners/{runner.slug}/jobs", runner.key, body, version=version)

    async def waiting(self, polls: int = 1) -> list[Seat]:
        """Until so many polls sit."""
        async with asyncio.timeout(20):
            await until(lambda: len(self.seats()) == len(self.state.queue.waiters) == polls)
        return self.seats()

    def seats(self) -> list[Seat]:
        return [each for each in self.server.server_state.connections if isinstance(each, Seat)]

    async def job(self) -> str:
        job = await self.state.database.write(lambda tx: new_job(tx, self.project, self.spec))
        return str(job)


def _runner(tx: Tx, name: str, spec: int) -> Runner:
    return new_runner(tx, name, spec)


@asynccontextmanager
async def serving(database: Database) -> AsyncIterator[Site]:
    spec = await database.write(new_spec)
    project = await database.write(new_project)
    runner = await database.write(lambda tx: new_runner(tx, "Rack 1", spec))
    app = create_app(database, Settings(sweep_s=60))
    config = uvicorn.Config(app, port=0, http=Connection, ws="none", log_config=None, access_log=False, lifespan="on")
    site = Site(Server(config, app.state.shared), app.state.shared, runner, spec, project)
    running = asyncio.create_task(site.server._serve())  # Not `serve`, which takes the signals of this process.
    await until(lambda: site.server.started)
    try:
        yield site
    finally:
        for line in site.lines:
            await line.close()
        site.server.handle_exit(signal.SIGTERM, None)
        await asyncio.wait_for(running, 20)


@pytest.fixture(params=["after its look", "before its look"])
async def site(
    database: Database, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Site]:
    """Where a poll sits down after it was looked for a job, and where each does so at once, as in a crowd."""
    if request.param == "before its look":
        monkeypatch.setattr(job_queue, "CROWD_MIN", 0)
        monkeypatch.setattr(job_queue, "TURNS", 1)
    async with serving(database) as site:
        yield site


async def test_a_poll_that_waited_is_answered_like_one_that_did_not(site: Site) -> None:
    at_once, waits = await site.line(), await site.line()
    other = await site.state.database.write(lambda tx: new_runner(tx, "Rack 2", site.spec))
    await site.job()
    site.poll(at_once, runner=other)
    first = await at_once.answer()
    site.poll(waits)
    await site.waiting()
    job = await site.job()
    second = await waits.answer()
    assert (first.status, second.status) == (200, 200)
    assert job.encode() in second.body
    assert first.headers.keys() == second.headers.keys()
    assert first.headers["x-request-id"] != second.headers["x-request-id"]


async def test_a_fleet_that_comes_at_once_waits_and_is_handed_what_there_is(site: Site) -> None:
    write = site.state.database.write
    fleet = [await write(partial(_runner, name=f"Rack {at}", spec=site.spec)) for at in range(2, 8)]
    queued = {await site.job() for _ in fleet[::2]}
    lines = [await site.line() for _ in fleet]
    for line, runner in zip(lines, fleet, strict=True):
        site.poll(line, runner=runner)
    await site.waiting(len(fleet) - len(queued))
    queued |= {await site.job() for _ in fleet[1::2]}
    answers = [await line.answer() for line in lines]
    assert sorted(str(ClaimedJob.model_validate_json(each.body).job) for each in answers) == sorted(queued)


async def test_a_request_that_cannot_be_read_is_told_so_and_holds_up_nobody(site: Site) -> None:
    wrong, right = await site.line(), await site.line()
    wrong.send("POST", f"/v0/runners/{site.runner.slug}/jobs", site.runner.key, '{"poll_timeout": "long"}')
    answer = await wrong.answer()
    assert answer.status == 400
    assert b"poll_timeout" in answer.body
    site.poll(right)
    await site.waiting()


async def test_the_same_connection_serves_poll_after_poll(site: Site) -> None:
    line = await site.line()
    for _ in range(2):
        site.poll(line, timeout=1)
        assert (await line.answer()).status == 204
    site.poll(line)
    await site.waiting()
    await site.job()
    assert (await line.answer()).status == 200
    line.send("GET", "/healthz", site.runner.key)
    assert (await line.answer()).status == 200
    assert not site.seats()


async def test_a_seat_holds_nothing_of_the_server_that_serves(site: Site) -> None:
    gc.collect()  # Of the tests before.
    site.poll(await site.line())
    await site.waiting()
    assert not [each for each in gc.get_objects() if isinstance(each, Connection)]


async def test_a_client_that_leaves_while_it_waits_is_missed(site: Site) -> None:
    line = await site.line()
    site.poll(line)
    await site.waiting()
    await line.close()
    await site.waiting(0)
    assert not site.server.server_state.connections
    job = await site.job()
    other = await site.line()
    site.poll(other)
    assert job.encode() in (await other.answer()).body


async def test_an_error_of_a_client_that_has_left_is_no_defect(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_queue, "CROWD_MIN", 0)
    monkeypatch.setattr(job_queue, "TURNS", 1)
    defects: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: defects.append(context))
    async with serving(database) as site:
        gone, stays = await site.line(), await site.line()
        async with asyncio.timeout(20), site.state.queue.turns:
            site.poll(gone, runner=replace(site.runner, key="wrong"))
            await until(lambda: bool(site.seats()))
            await gone.close()
            await until(lambda: not site.seats())
        site.poll(stays)  # Its turn comes after the other's.
        await site.waiting()
        gc.collect()
    assert defects == []


async def test_what_is_sent_after_a_poll_is_answered_after_it(site: Site) -> None:
    line = await site.line()
    site.poll(line)
    await site.waiting()
    line.send("GET", "/healthz", site.runner.key)
    await asyncio.sleep(0.05)
    await site.job()
    assert [(await line.answer()).status for _ in range(2)] == [200, 200]


@pytest.mark.parametrize("more", ["whole", "begun"])
async def test_what_is_sent_together_with_a_poll_is_answered_after_it(site: Site, more: str) -> None:
    line = await site.line()
    site.poll(line, timeout=1)
    if more == "whole":
        line.send("GET", "/healthz", site.runner.key)
    else:
        line.writer.write(b"GET /healthz HTTP/1.1\r\nhost: ser")
        await asyncio.sleep(0.1)
        line.writer.write(b"ver\r\n\r\n")
    assert [(await line.answer()).status for _ in range(2)] == [204, 200]


async def test_who_does_not_keep_connections_has_it_closed(site: Site) -> None:
    line = await site.line()
    site.poll(line, version="1.0")
    await site.waiting()
    await site.job()
    assert (await line.answer()).status == 200
    assert await line.ended() == b""


async def test_a_key_that_goes_while_its_poll_waits_is_refused(site: Site) -> None:
    line = await site.line()
    site.poll(line)
    await site.waiting()
    await site.state.database.write(lambda tx: runner_keys.drop_keys(tx, site.runner.id))
    site.state.queue.waiters.wake_all()
    answer = await line.answer()
    assert answer.status == 401
    assert b"request_id" in answer.body


async def test_a_poll_with_a_wrong_key_is_refused(site: Site) -> None:
    line = await site.line()
    site.poll(line, runner=replace(site.runner, key="bench_run_wrong"))
    assert (await line.answer()).status == 401


async def test_a_server_that_stops_answers_who_waits(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving_command, "TICK_S", 3600.0)  # It does not wait for its next look at the clock.
    async with serving(database) as site:
        line = await site.line()
        site.poll(line)
        await site.waiting()
        site.server.handle_exit(signal.SIGTERM, None)
        assert (await line.answer()).status == 204
        assert await line.ended() == b""


async def test_a_poll_is_measured_once_and_from_its_beginning(site: Site) -> None:
    line = await site.line()
    site.poll(line, timeout=1)
    assert (await line.answer()).status == 204
    labels = {"route": "/v0/runners/{runner}/jobs", "method": "POST", "status": "204"}
    read = site.state.queue.telemetry.registry.get_sample_value
    assert read("bench_request_seconds_count", labels) == 1
    assert (read("bench_request_seconds_sum", labels) or 0) >= 1
