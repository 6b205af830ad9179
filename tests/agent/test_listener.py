"""The agent's figures over HTTP, on loopback: a page for Prometheus, and a closed door for everybody else."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import httpx
import pytest
from agents import client_of, make_daemon
from fakes import FakeEngine, FakeServer, make_job

from runner_agent import listener
from runner_agent.errors import SettingFault
from runner_agent.listener import answer_prometheus
from runner_agent.settings import load

pytestmark = pytest.mark.anyio


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def listening(port: int, *, taken: bool = False) -> AsyncIterator[None]:
    """From when it takes connections, or at once where the port is taken."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(answer_prometheus, f"127.0.0.1:{port}", lambda: "figures 1\n")
        if not taken:
            await until_open(port)
        yield
        tasks.cancel_scope.cancel()


async def until_open(port: int) -> None:
    with anyio.fail_after(60):
        while True:
            try:
                return await (await anyio.connect_tcp("127.0.0.1", port)).aclose()
            except OSError:
                await anyio.sleep(0.01)


async def asked(port: int, path: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.get(f"http://127.0.0.1:{port}{path}")


async def test_prometheus_gets_the_page_and_any_other_path_nothing() -> None:
    port = free_port()
    async with listening(port):
        page = await asked(port, "/metrics")
        other = await asked(port, "/")
    assert (page.status_code, page.text) == (200, "figures 1\n")
    assert page.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert (other.status_code, other.text) == (404, "")


@pytest.mark.parametrize("sent", [b"", b"GET /met", b"x" * 10_000])
async def test_who_asks_wrongly_or_never_ends_holds_up_nobody(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "REQUEST_S_MAX", 0.2)
    port = free_port()
    async with listening(port), await anyio.connect_tcp("127.0.0.1", port) as idler:
        await idler.send(sent)
        assert (await asked(port, "/metrics")).text == "figures 1\n"


async def test_a_port_that_is_taken_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "AGAIN_S", 0.05)
    port = free_port()
    with socket.create_server(("127.0.0.1", port)) as other:
        async with listening(port, taken=True):
            await anyio.sleep(0.1)
            other.close()
            await until_open(port)
            assert (await asked(port, "/metrics")).text == "figures 1\n"


async def test_an_agent_answers_while_a_job_runs(tmp_path: Path) -> None:
    server, engine, port = FakeServer(), FakeEngine(gate=anyio.Event()), free_port()
    server.submit(make_job())
    async with client_of(server) as client, anyio.create_task_group() as tasks:
        daemon = make_daemon(client, engine, tmp_path)
        daemon._habits = replace(daemon._habits, metrics_listen=f"127.0.0.1:{port}")
        tasks.start_soon(daemon.run)
        await engine.running.wait()
        page = (await asked(port, "/metrics")).text
        tasks.cancel_scope.cancel()
    assert 'runner_agent_state{state="running"} 1.0' in page.splitlines()


@pytest.mark.parametrize("address", ["0.0.0.0:9101", "[::]:9101", "rack-1:9101", "127.0.0.1", "127.0.0.1:0"])
def test_only_an_address_of_this_host_alone_is_taken(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNNER_AGENT_METRICS_LISTEN", address)
    with pytest.raises(SettingFault, match="metrics_listen"):
        load()
