"""The spool and the promise on a real file system: order, power cuts, full disks and damage."""

import resource
import signal
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest
from fakes import make_job

from runner_agent.current_job import CurrentJob, Promise, handed_back
from runner_agent.spool import Spool
from runner_protocol.results import CapturedText, Fault, FaultClass, IterationRecord, Outcome, RunReport, Stage

ROOM = 1 << 20


def a_report(number: int, *, text: str = "") -> RunReport:
    iterations = [IterationRecord(number=0, exit_code=0, stdout=CapturedText(text=text))]
    return RunReport(job=UUID(int=number), attempt=1, outcome=Outcome.COMPLETED, iterations=iterations)


def test_reports_come_out_in_the_order_in_which_they_went_in(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    for number in (9, 3, 5):
        spool.put(a_report(number), piece_bytes_max=ROOM)
    seen = []
    while (report := Spool(tmp_path).oldest()) is not None:
        seen.append(report.job.int)
        spool.drop(report)
    assert seen == [9, 3, 5]


def test_what_is_read_is_what_was_written_whole_or_in_pieces(tmp_path: Path) -> None:
    spool, report = Spool(tmp_path), a_report(1, text="µ" * 1000)
    spool.put(report, piece_bytes_max=100)
    found = spool.oldest()
    assert found is not None
    assert RunReport.model_validate_json(found.read()) == report
    count = -(-found.size_bytes // 100)
    assert b"".join(found.read_piece(index) for index in range(count)) == found.read()


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda content: content[:-1], id="cut short"),
        pytest.param(lambda content: content + b"x", id="too long"),
        pytest.param(lambda content: content.replace(b"completed", b"complEted"), id="one bit"),
        pytest.param(lambda content: b"", id="empty"),
        pytest.param(lambda content: b"\0" * len(content), id="zeros, as after a power cut without fsync"),
        pytest.param(lambda content: b"{}\n" + content, id="another first line"),
        pytest.param(lambda content: b"x" * 10_000, id="no line at all"),
    ],
)
def test_a_damaged_report_is_set_aside_and_blocks_nothing(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    spool = Spool(tmp_path)
    path = spool.put(a_report(1), piece_bytes_max=ROOM)
    spool.put(a_report(2), piece_bytes_max=ROOM)
    path.write_bytes(damage(path.read_bytes()))
    found = spool.oldest()
    assert found is not None and found.job.int == 2
    assert (spool.count(), path.with_name(path.name + ".damaged").exists()) == (1, True)


def test_numbers_go_on_counting_after_a_report_was_set_aside(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.put(a_report(1), piece_bytes_max=ROOM)
    first = spool.oldest()
    assert first is not None
    spool.refuse(first)
    assert spool.put(a_report(2), piece_bytes_max=ROOM).name.startswith("000000000002-")


def test_a_half_written_file_of_a_killed_agent_is_removed_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "000000000001-x.report.tmp").write_bytes(b"half")
    assert Spool(tmp_path).oldest() is None
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_takes_no_more_leaves_nothing_half_written(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            spool.put(a_report(1, text="x" * 10_000), piece_bytes_max=ROOM)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert list(tmp_path.iterdir()) == []


def test_the_spool_knows_what_waits_in_it(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    path = spool.put(a_report(1), piece_bytes_max=ROOM)
    assert (spool.has(UUID(int=1), 1), spool.has(UUID(int=1), 2), spool.has(UUID(int=2), 1)) == (True, False, False)
    assert (spool.count(), spool.size_bytes()) == (1, path.stat().st_size)


def test_a_promise_is_kept_until_it_is_forgotten(tmp_path: Path) -> None:
    job = make_job(attempt=3)
    current = CurrentJob(tmp_path)
    assert current.promised() is None
    current.remember(job)
    assert CurrentJob(tmp_path).promised() == Promise(job=job.job, attempt=3)
    current.forget()
    current.forget()
    assert CurrentJob(tmp_path).promised() is None
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_promise_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "current-job.json").write_text("{")
    assert CurrentJob(tmp_path).promised() is None
    assert [path.name for path in tmp_path.iterdir()] == ["current-job.json.damaged"]


def test_an_interrupted_job_is_handed_back_with_the_reason() -> None:
    assert handed_back(Promise(job=UUID(int=1), attempt=2)) == RunReport(
        job=UUID(int=1),
        attempt=2,
        outcome=Outcome.RELEASED,
        fault=Fault(
            kind=FaultClass.AGENT_RESTARTED,
            stage=Stage.ITERATE,
            message="the agent was killed or the host went down while it held the job",
        ),
    )
