"""The agent's door to the API: what each answer means, a rotated key, and bounds."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from datetime import UTC, datetime
from email.utils import format_datetime

import httpx
import pytest
from agents import INSTANCE, client_of
from fakes import FakeServer, make_job, problem
from pydantic import SecretStr

from runner_agent.answers import error_of, retry_after_s
from runner_agent.client import ANSWER_BYTES_MAX, Client, connected
from runner_agent.errors import AgentError, IdentityFault, LeaseLostError, RefusedError, ServerFault
from runner_agent.figures import Figures
from runner_protocol.messages import AgentIdentity, ClaimRequest, Heartbeat, Progress
from runner_protocol.problems import Stale
from runner_protocol.results import Stage

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
BEAT = Heartbeat(attempt=1, progress=Progress(stage=Stage.PULL))


@pytest.mark.parametrize(
    ("status", "claim", "family"),
    [
        (401, False, IdentityFault),
        (401, True, IdentityFault),
        (403, True, IdentityFault),
        (404, True, IdentityFault),
        (410, True, IdentityFault),
        (403, False, RefusedError),
        (404, False, RefusedError),
        (400, False, RefusedError),
        (413, False, RefusedError),
        (422, False, RefusedError),
        (409, False, LeaseLostError),
        (408, False, ServerFault),
        (425, False, ServerFault),
        (429, False, ServerFault),
        (500, True, ServerFault),
        (503, False, ServerFault),
        (599, False, ServerFault),
    ],
)
def test_every_status_of_the_server_belongs_to_one_family(status: int, *, claim: bool, family: type[Exception]) -> None:
    answer = problem(status, "because")
    error = error_of(status, answer.headers, answer.content, claim=claim, now=NOW)
    assert (type(error), str(error)) == (family, f"{status}: because")


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 409, 422, 502])
def test_an_answer_without_the_servers_own_body_came_from_somebody_in_between_and_passes(status: int) -> None:
    error = error_of(status, {}, b"<html>sign in</html>", claim=True, now=NOW)
    assert (type(error), str(error)) == (ServerFault, f"{status} without the server's error body")


def test_a_stale_attempt_says_why_also_in_words_that_are_not_known_yet() -> None:
    answer = problem(409, "gone", stale=Stale.CANCELED)
    told = error_of(409, {}, answer.content, claim=False, now=NOW)
    newer = error_of(409, {}, answer.content.replace(b"canceled", b"retired"), claim=False, now=NOW)
    assert [error.reason for error in (told, newer) if isinstance(error, LeaseLostError)] == ["canceled", "unknown"]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        (" 0 ", 0.0),
        ("999999", 600.0),
        (format_datetime(NOW.replace(second=25), usegmt=True), 20.0),
        (format_datetime(NOW.replace(second=1), usegmt=True), 0.0),
        ("soon", None),
        ("-3", None),
        ("²", None),
        ("", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date_and_bounded(text: str, seconds: float | None) -> None:
    assert retry_after_s({"retry-after": text}, NOW) == seconds


@pytest.mark.parametrize(
    "fault",
    [
        httpx.ConnectError("refused"),
        httpx.ReadError("reset"),
        httpx.RemoteProtocolError("cut in the middle"),
        httpx.ReadTimeout("slow"),
        httpx.Response(200, content=b"not json"),
        httpx.Response(200, content=b'{"lease_s": "long"}'),
        httpx.Response(200),
        httpx.Response(200, content=b"x" * (ANSWER_BYTES_MAX + 1)),
        httpx.Response(302, headers={"location": "http://login.test/"}),
    ],
)
async def test_whatever_breaks_on_the_way_passes(fault: httpx.Response | Exception) -> None:
    server = FakeServer()
    job = server.submit(make_job())
    server.faults.append(fault)
    async with client_of(server) as client:
        with pytest.raises(ServerFault):
            await client.beat(job, BEAT)
        assert (await client.beat(job, BEAT)).cancel is False


async def test_the_servers_clock_is_read_from_its_answers() -> None:
    server = FakeServer()
    server.faults.append(httpx.Response(204, headers={"date": "Thu, 01 Jan 1970 00:00:00 GMT"}))
    async with client_of(server) as client:
        assert await client.claim(ClaimRequest(poll_timeout=1)) is None
        assert client.clock_offset_s is not None and client.clock_offset_s > 50 * 365 * 86_400


async def test_every_answer_of_the_server_is_a_contact_and_no_other() -> None:
    server, figures = FakeServer(), Figures()
    job = server.submit(make_job())

    async def contact(fault: httpx.Response | Exception | None = None) -> bool:
        figures.answered(0)
        server.faults.extend([fault] if fault else [])
        with suppress(AgentError):
            await client.beat(job, BEAT)
        return "last_contact_timestamp_seconds 0.0" not in figures.page()

    async with connect(server, [SecretStr(server.key)], answered=figures.answered) as client:
        assert await contact()
        assert await contact(problem(409, "stale", stale=Stale.SUPERSEDED))
        assert await contact(problem(401, "unknown key"))
        assert await contact(problem(503, "busy"))
        assert not await contact(httpx.ConnectError("refused"))
        assert not await contact(httpx.Response(502, content=b"<html>bad gateway</html>"))
        assert not await contact(httpx.Response(200, content=b"<html>log in</html>"))


async def test_a_key_that_was_rotated_on_disk_is_found_without_a_restart() -> None:
    server = FakeServer()
    keys = [SecretStr("bencher_runner_" + "o" * 30)]
    async with connect(server, keys) as client:
        keys.append(SecretStr(server.key))
        await client.claim(ClaimRequest(poll_timeout=1))
    assert len(server.claims) == 1


async def test_a_key_that_stays_wrong_is_asked_about_once() -> None:
    server, keys, asked = FakeServer(), [SecretStr("bencher_runner_" + "o" * 30)], []
    answer = server.answer

    async def counted(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return await answer(request)

    async with connect(server, keys, transport=httpx.MockTransport(counted)) as client:
        with pytest.raises(IdentityFault, match="401: unknown key"):
            await client.claim(ClaimRequest(poll_timeout=1))
    assert asked == ["/v0/runners/bench-1/jobs"]


def connect(
    server: FakeServer,
    keys: list[SecretStr],
    transport: httpx.MockTransport | None = None,
    answered: Callable[[float], None] | None = None,
) -> AbstractAsyncContextManager[Client]:
    identity = AgentIdentity(version="1", instance=INSTANCE, machine_id="m")
    return connected(
        "http://server.test",
        runner="bench-1",
        identity=identity,
        key=lambda: keys[-1],
        answered=answered,
        transport=transport or server.transport,
    )
