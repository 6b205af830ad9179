"""One agent's life against a server that obeys the wire contract: claim, run, report, and what goes wrong between."""

import errno
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio
import httpx
import pytest
from agents import client_of, make_daemon, run_agent, until
from fakes import FakeEngine, FakeServer, make_job, problem, record_of, with_bytes_max
from structlog.testing import capture_logs

from runner_agent import daemon as daemon_module
from runner_agent.bench import Bench
from runner_agent.current_job import CurrentJob
from runner_agent.daemon import Daemon
from runner_agent.engine import EngineFacts, IterationOrder, OutputTail
from runner_agent.errors import HostFault, JobFault
from runner_agent.figures import Figures
from runner_agent.preflight import Floors
from runner_agent.session import DrainAsked, Ending, ReloadAsked
from runner_agent.signals import Signals
from runner_agent.spool import Spool
from runner_protocol.jobs import Work
from runner_protocol.problems import Stale
from runner_protocol.results import Fault, FaultClass, IterationRecord, Outcome, RunReport, Stage

pytestmark = pytest.mark.anyio


def summary(report: RunReport) -> tuple[Outcome, FaultClass | None, list[str]]:
    return report.outcome, report.fault.kind if report.fault else None, [each.stdout.text for each in report.iterations]


@asynccontextmanager
async def living(daemon: Daemon) -> AsyncIterator[list[Ending]]:
    """The agent lives beside the block; the list holds its ending after it."""
    endings: list[Ending] = []

    async def live() -> None:
        endings.append(await daemon.run())

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(live)
            yield endings


async def test_a_job_is_claimed_run_and_reported(tmp_path: Path) -> None:
    server, engine = FakeServer(), FakeEngine()
    job = server.submit(make_job(Work(image="registry.test/bench:1", iterations=2, env={"A": "b"}, cmd=["go"])))

    assert await run_agent(server, engine, tmp_path) is Ending.DRAINED

    [report] = server.reports
    assert summary(report) == (Outcome.COMPLETED, None, ["registry.test/bench:1 0", "registry.test/bench:1 1"])
    assert (report.job, report.attempt, report.host and report.host.hostname) == (job.job, 1, "host")
    assert report.isolation is not None and report.isolation.note == "nobody watches in this test"
    assert set(report.stage_s) == {Stage.PLAN, Stage.PULL, Stage.ISOLATE, Stage.ITERATE}
    assert [(order.env, order.cmd, order.image.id) for order in engine.orders] == [
        ({"A": "b"}, ("go",), "id of registry.test/bench:1")
    ] * 2
    assert engine.sweeps == 2  # At the start, and at the end.
    assert Spool(tmp_path / "spool").count() == 0
    assert CurrentJob(tmp_path).promised() is None


async def test_the_first_heartbeat_confirms_the_claim_and_later_ones_show_progress(tmp_path: Path) -> None:
    server, engine = FakeServer(), FakeEngine(gate=anyio.Event())
    server.submit(make_job(Work(image="registry.test/bench:1", iterations=3)))
    async with client_of(server) as client, living(make_daemon(client, engine, tmp_path)):
        await server.beaten.wait()
        await engine.running.wait()
        await until(lambda: server.beats[-1].progress.tail == "line of 0")
        assert engine.gate is not None
        engine.gate.set()
    first, last = server.beats[0], server.beats[-1]
    assert (first.attempt, first.progress.stage, first.instance and first.instance.int) == (1, Stage.CLAIM, 7)
    assert (last.progress.stage, last.progress.iterations) == (Stage.ITERATE, 3)


async def test_a_cancel_that_a_heartbeat_brings_kills_the_container(tmp_path: Path) -> None:
    server, engine = FakeServer(), FakeEngine(gate=anyio.Event())
    job = server.submit(make_job())
    async with client_of(server) as client, living(make_daemon(client, engine, tmp_path)):
        await engine.running.wait()
        server.cancels.add(job.job)
    assert engine.killed == [0]
    assert [summary(report) for report in server.reports] == [(Outcome.CANCELED, FaultClass.CANCELED, [])]


async def test_a_lost_lease_kills_the_container_and_the_job_is_forgotten(tmp_path: Path) -> None:
    server, engine = FakeServer(), FakeEngine(gate=anyio.Event())
    job = server.submit(make_job())
    async with client_of(server) as client, living(make_daemon(client, engine, tmp_path)) as endings:
        await engine.running.wait()
        server.stale[job.job] = Stale.SUPERSEDED
    assert (engine.killed, server.reports, endings) == ([0], [], [Ending.DRAINED])
    assert (Spool(tmp_path / "spool").count(), CurrentJob(tmp_path).promised()) == (0, None)


async def test_a_runner_that_is_removed_under_its_job_kills_the_container_and_leaves(tmp_path: Path) -> None:
    server, engine = FakeServer(), FakeEngine(gate=anyio.Event())
    server.submit(make_job())
    async with client_of(server) as client, living(make_daemon(client, engine, tmp_path, jobs_max=None)) as endings:
        await engine.running.wait()
        server.key = "of another runner"
    assert (engine.killed, server.reports, endings) == ([0], [], [Ending.KEY_REFUSED])
    assert (Spool(tmp_path / "spool").count(), CurrentJob(tmp_path).promised()) == (0, None)


async def test_what_a_killed_job_leaves_on_the_engine_is_gone_before_a_drained_agent_is(tmp_path: Path) -> None:
    server, engine = FakeServer(), FakeEngine(gate=anyio.Event())
    job = server.submit(make_job())
    async with client_of(server) as client, living(make_daemon(client, engine, tmp_path)) as endings:
        await engine.running.wait()
        engine.left_over = 1
        server.stale[job.job] = Stale.SUPERSEDED
    assert (engine.killed, engine.left_over, endings) == ([0], 0, [Ending.DRAINED])


async def test_the_jobs_own_fault_is_reported_and_the_next_job_claimed(tmp_path: Path) -> None:
    fault = Fault(kind=FaultClass.IMAGE_NOT_FOUND, stage=Stage.PULL, message="no such image")
    server, engine = FakeServer(), FakeEngine(pull_error=JobFault(fault))
    server.submit(make_job())
    server.submit(make_job())
    await run_agent(server, engine, tmp_path, jobs_max=2)
    assert [report.fault for report in server.reports] == [fault, fault]
    assert [report.outcome for report in server.reports] == [Outcome.FAILED] * 2


async def test_the_hosts_fault_hands_the_job_back(tmp_path: Path) -> None:
    server = FakeServer()
    engine = FakeEngine(run_error=HostFault(FaultClass.CONTAINER_LOST, Stage.ITERATE, "the engine lost it"))
    server.submit(make_job())
    await run_agent(server, engine, tmp_path)
    assert [summary(report) for report in server.reports] == [(Outcome.RELEASED, FaultClass.CONTAINER_LOST, [])]


async def test_a_full_disk_is_the_hosts_fault_and_no_mistake_of_ours(tmp_path: Path) -> None:
    server, engine = FakeServer(), FakeEngine(run_error=OSError(errno.ENOSPC, "No space left on device"))
    server.submit(make_job())
    with capture_logs() as lines:
        await run_agent(server, engine, tmp_path)
    assert [summary(report) for report in server.reports] == [(Outcome.RELEASED, FaultClass.HOST_FAULT, [])]
    assert [line["why"] for line in lines if line["event"] == "job_faulted"] == ["[Errno 28] No space left on device"]


async def test_a_mistake_of_ours_hands_the_job_back_and_the_agent_lives(tmp_path: Path) -> None:
    server, engine = FakeServer(), FakeEngine(run_error=ZeroDivisionError("ours"))
    server.submit(make_job())
    await run_agent(server, engine, tmp_path)
    assert [report.fault for report in server.reports] == [
        Fault(kind=FaultClass.HOST_FAULT, stage=Stage.ITERATE, message="ZeroDivisionError: ours")
    ]


async def test_a_job_whose_time_is_up_is_cut_and_keeps_what_it_had(tmp_path: Path) -> None:
    server = FakeServer()
    engine = FakeEngine(
        script=lambda order: record_of(order, exit_code=137).model_copy(update={"timed_out": order.within_s < 10})
    )
    server.submit(make_job(Work(image="i", iterations=5), job_s_max=5))
    await run_agent(server, engine, tmp_path)
    [report] = server.reports
    assert (report.outcome, report.fault) == (
        Outcome.FAILED,
        Fault(
            kind=FaultClass.JOB_TIMEOUT,
            stage=Stage.ITERATE,
            message="the job as a whole took longer than 5 s",
            iteration=0,
        ),
    )
    assert [record.timed_out for record in report.iterations] == [True]


async def test_no_iterations_run_nothing_and_complete(tmp_path: Path) -> None:
    server, engine = FakeServer(), FakeEngine()
    server.submit(make_job(Work(image="i", iterations=0)))
    await run_agent(server, engine, tmp_path)
    assert (engine.pulled, engine.orders) == ([], [])
    assert [summary(report) for report in server.reports] == [(Outcome.COMPLETED, None, [])]


async def test_a_paired_job_pulls_both_images_and_alternates(tmp_path: Path) -> None:
    server, engine = FakeServer(), FakeEngine()
    server.submit(make_job(Work(image="new", baseline="old", iterations=4)))
    await run_agent(server, engine, tmp_path)
    [report] = server.reports
    assert engine.pulled == ["new", "old"]
    assert sorted(record.variant for record in report.iterations) == ["baseline"] * 4 + ["candidate"] * 4
    assert None not in (report.digest, report.baseline_digest) and report.digest != report.baseline_digest


async def test_a_report_that_a_server_could_not_take_is_delivered_when_it_is_back(tmp_path: Path) -> None:
    server, engine = FakeServer(), FakeEngine()
    server.fault_paths = ("report",)
    server.faults.extend(
        [
            httpx.ConnectError("refused"),
            problem(503, "busy", headers={"retry-after": "0"}),
            httpx.Response(200, content=b"<html>log in</html>"),
        ]
    )
    server.submit(make_job())
    await run_agent(server, engine, tmp_path)
    assert [summary(report)[0] for report in server.reports] == [Outcome.COMPLETED]


async def test_a_report_that_waits_is_among_the_figures_while_it_waits(tmp_path: Path) -> None:
    pages: list[str] = []

    class Kept(Figures):
        def turned(self, state: str) -> None:
            super().turned(state)
            pages.append(self.page())

    server = FakeServer()
    server.fault_paths = ("report",)
    server.faults.append(httpx.ConnectError("refused"))
    server.submit(make_job())
    async with client_of(server) as client:
        daemon = make_daemon(client, FakeEngine(), tmp_path)
        daemon._hands = replace(daemon._hands, figures=Kept())
        await daemon.run()
    waited = [page for page in pages if 'runner_agent_state{state="waiting"} 1.0\n' in page]
    assert waited
    assert all("runner_agent_spooled_reports 1.0\n" in page for page in waited)


async def test_a_report_that_another_attempt_has_overtaken_is_dropped(tmp_path: Path) -> None:
    server, engine = FakeServer(), FakeEngine()
    server.fault_paths = ("report",)
    server.faults.append(problem(409, "superseded", stale=Stale.SUPERSEDED))
    server.submit(make_job())
    assert await run_agent(server, engine, tmp_path) is Ending.DRAINED
    assert (server.reports, Spool(tmp_path / "spool").count()) == ([], 0)


async def test_a_report_that_is_refused_for_good_is_kept_for_a_person_and_blocks_nothing(tmp_path: Path) -> None:
    server, engine = FakeServer(), FakeEngine()
    server.fault_paths = ("report",)
    server.faults.append(problem(422, "digest: not a digest"))
    server.submit(make_job())
    server.submit(make_job())
    await run_agent(server, engine, tmp_path, jobs_max=2)
    assert len(server.reports) == 1
    assert [path.suffix for path in (tmp_path / "spool").iterdir()] == [".refused"]


async def test_a_large_report_leaves_in_pieces(tmp_path: Path) -> None:
    server = FakeServer()
    engine = FakeEngine(script=lambda order: record_of(order, stdout="x" * 5000))
    server.submit(with_bytes_max(make_job(), piece=1000))
    await run_agent(server, engine, tmp_path)
    [report] = server.reports
    assert report.iterations[0].stdout.text == "x" * 5000
    assert len(server.pieces) > 5 and max(map(len, server.pieces.values())) == 1000


async def test_an_agent_that_was_killed_hands_its_job_back_first_of_all(tmp_path: Path) -> None:
    server, engine = FakeServer(), FakeEngine(left_over=2)
    lost = server.submit(make_job())
    server.queue.clear()
    CurrentJob(tmp_path).remember(lost)
    server.submit(make_job())
    await run_agent(server, engine, tmp_path)
    assert [summary(report)[:2] for report in server.reports] == [
        (Outcome.RELEASED, FaultClass.AGENT_RESTARTED),
        (Outcome.COMPLETED, None),
    ]
    assert (engine.left_over, CurrentJob(tmp_path).promised()) == (0, None)


async def test_an_agent_that_was_killed_after_spooling_delivers_that_report_only(tmp_path: Path) -> None:
    server, engine = FakeServer(), FakeEngine()
    done = server.submit(make_job())
    server.queue.clear()
    CurrentJob(tmp_path).remember(done)
    report = RunReport(job=done.job, attempt=1, outcome=Outcome.COMPLETED)
    Spool(tmp_path / "spool").put(report, piece_bytes_max=1 << 20)
    server.submit(make_job())
    await run_agent(server, engine, tmp_path)
    assert len(server.reports) == 2
    assert (server.reports[0].job, server.reports[0].outcome) == (done.job, Outcome.COMPLETED)


async def test_a_drain_lets_the_job_finish_and_a_second_one_hands_it_back(tmp_path: Path) -> None:
    server, engine = FakeServer(), FakeEngine(gate=anyio.Event())
    server.submit(make_job())
    async with client_of(server) as client:
        daemon = make_daemon(client, engine, tmp_path, jobs_max=None)
        async with living(daemon) as endings:
            await engine.running.wait()
            daemon.tell(DrainAsked())
            await anyio.sleep(0.1)
            assert (endings, engine.killed) == ([], [])
            daemon.tell(DrainAsked())
    assert (endings, engine.killed) == ([Ending.DRAINED], [0])
    assert [summary(report)[:2] for report in server.reports] == [(Outcome.RELEASED, FaultClass.AGENT_STOPPED)]


async def test_a_drain_whose_time_is_up_hands_the_job_back(tmp_path: Path) -> None:
    server, engine = FakeServer(), FakeEngine(gate=anyio.Event())
    server.submit(make_job())
    async with client_of(server) as client:
        daemon = make_daemon(client, engine, tmp_path, jobs_max=None, drain_s_max=0.05)
        async with living(daemon) as endings:
            await engine.running.wait()
            daemon.tell(DrainAsked())
    assert (endings, engine.killed) == ([Ending.DRAINED], [0])


async def test_an_idle_agent_that_is_told_to_reload_leaves_its_poll(tmp_path: Path) -> None:
    server, engine = FakeServer(), FakeEngine()
    async with client_of(server) as client:
        daemon = make_daemon(client, engine, tmp_path, jobs_max=None)
        async with living(daemon) as endings:
            await until(lambda: bool(server.claims))
            daemon.tell(ReloadAsked())
    assert endings == [Ending.RELOAD]


async def test_signals_that_come_between_two_lives_or_at_the_end_of_one_are_heard_by_the_next(tmp_path: Path) -> None:
    server, signals = FakeServer(), Signals()
    engine = FakeEngine()
    async with client_of(server) as client:
        signals.hear(ReloadAsked())
        first = make_daemon(client, engine, tmp_path, jobs_max=None)
        with anyio.fail_after(20):
            assert await first.run(signals) is Ending.RELOAD
        signals.hear(DrainAsked())
        second = make_daemon(client, engine, tmp_path, jobs_max=None)
        with anyio.fail_after(20):
            assert await second.run(signals) is Ending.DRAINED
    assert server.claims == []


async def test_a_signal_that_the_last_sweep_of_a_life_overlaps_is_heard_by_the_next(tmp_path: Path) -> None:
    @dataclass
    class Swept(FakeEngine):
        async def sweep(self, *, keep_job: str | None = None) -> int:
            if signals_due:
                signals.hear(signals_due.pop())
                raise HostFault(FaultClass.ENGINE_UNAVAILABLE, Stage.PLAN, "away")
            return await super().sweep()

    server, signals, engine = FakeServer(), Signals(), Swept()
    signals_due: list[DrainAsked] = []
    async with client_of(server) as client:
        server.submit(make_job())
        daemon = make_daemon(client, engine, tmp_path, jobs_max=None)
        endings: list[Ending] = []

        async def live() -> None:
            endings.append(await daemon.run(signals))

        engine.gate = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(live)
            await engine.running.wait()
            signals.hear(ReloadAsked())
            signals_due.append(DrainAsked())
            engine.gate.set()
        with anyio.fail_after(20):
            endings.append(await make_daemon(client, engine, tmp_path, jobs_max=None).run(signals))
    assert endings == [Ending.RELOAD, Ending.DRAINED]


async def test_an_unknown_key_ends_the_agent(tmp_path: Path) -> None:
    server, engine = FakeServer(), FakeEngine()
    async with client_of(server, key="bencher_runner_" + "b" * 30) as client:
        assert await make_daemon(client, engine, tmp_path).run() is Ending.KEY_REFUSED
    assert server.claims == []


async def test_a_host_that_is_not_fit_says_why_and_gets_no_job(tmp_path: Path) -> None:
    server, engine = FakeServer(), FakeEngine()
    server.submit(make_job())
    floors = Floors(image_free_bytes_min=1 << 60, image_free_inodes_min=0, state_free_bytes_min=0)
    async with client_of(server) as client:
        daemon = make_daemon(client, engine, tmp_path, floors=floors)
        async with living(daemon):
            await until(lambda: bool(server.claims))
            daemon.tell(DrainAsked())
    [reason] = server.claims[0].state.blocked
    assert reason.startswith("disk: bytes free for images: ")
    assert engine.orders == []


async def test_an_engine_that_comes_back_is_swept_and_the_agent_takes_jobs_again(tmp_path: Path) -> None:
    server = FakeServer()
    gone = HostFault(FaultClass.ENGINE_UNAVAILABLE, Stage.CLAIM, "no engine answers")
    engine = FakeEngine(facts_error=gone, left_over=1)
    server.submit(make_job())
    async with client_of(server) as client, living(make_daemon(client, engine, tmp_path)):
        await until(lambda: bool(server.claims))
        engine.facts_error = None
    assert server.claims[0].state.blocked == ["engine: no engine answers"]
    assert engine.left_over == 0
    assert [report.outcome for report in server.reports] == [Outcome.COMPLETED]


@pytest.fixture
def fed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """systemd's end, which asks for a sign of life every 60 ms; beyond their own time things may take a second."""
    monkeypatch.setattr(daemon_module, "SLACK_S_MAX", 1.0)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(str(tmp_path / "notify"))
        end.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", end.getsockname())
        monkeypatch.setenv("WATCHDOG_USEC", "60000")
        yield end


def signs_of_life(systemd: socket.socket) -> int:
    """How often the watchdog was fed since this was asked."""
    count = 0
    while True:
        try:
            count += systemd.recv(4096) == b"WATCHDOG=1"
        except BlockingIOError:
            return count


@dataclass
class HungEngine(FakeEngine):
    """Holds on to one call, whatever its caller wants, until it is let go; ten seconds are for ever."""

    hangs_in: str = ""
    let_go: anyio.Event = field(default_factory=anyio.Event)

    async def facts(self) -> EngineFacts:
        """Hang, or answer."""
        await self._hang("facts")
        return await super().facts()

    async def run(self, order: IterationOrder, bench: Bench, tail: OutputTail) -> IterationRecord:
        """Hang, or run."""
        await self._hang("run")
        return await super().run(order, bench, tail)

    async def _hang(self, call: str) -> None:
        with anyio.move_on_after(10, shield=True):
            if call == self.hangs_in:
                await self.let_go.wait()


@pytest.mark.parametrize(("call", "under_way"), [("facts", "look"), ("run", "job")])
async def test_a_conversation_that_hangs_for_ever_starves_the_watchdog(
    call: str, under_way: str, tmp_path: Path, fed: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon_module, "WIND_UP_S_MAX", 0.1)
    server, engine = FakeServer(), HungEngine(hangs_in=call)
    server.submit(make_job(job_s_max=0.1))
    with capture_logs() as lines:
        async with client_of(server) as client, living(make_daemon(client, engine, tmp_path)):
            await until(lambda: any(line["event"] == "agent_gets_nowhere" for line in lines))
            before = signs_of_life(fed)
            await anyio.sleep(0.2)
            after = signs_of_life(fed)
            engine.let_go.set()
    assert before > 0
    assert after == 0
    assert [line["under_way"] for line in lines if line["event"] == "agent_gets_nowhere"] == [under_way]


async def test_an_outage_a_long_pause_a_poll_and_a_job_all_feed_the_watchdog(
    tmp_path: Path, fed: socket.socket
) -> None:
    server, engine = FakeServer(), FakeEngine(gate=anyio.Event())
    server.faults.extend([httpx.ConnectError("refused"), problem(503, "busy", headers={"retry-after": "1"})])
    server.fault_paths = ("jobs",)
    with capture_logs() as lines:
        async with client_of(server) as client:
            daemon = make_daemon(client, engine, tmp_path)
            async with living(daemon):
                await until(lambda: len(server.claims) == 2)
                server.submit(make_job())
                await engine.running.wait()
                daemon.tell(DrainAsked())
                signs_of_life(fed)
                await anyio.sleep(1.5)
                during_job = signs_of_life(fed)
                assert engine.gate is not None
                engine.gate.set()
    assert during_job > 10
    assert [line for line in lines if line["event"] == "agent_gets_nowhere"] == []
