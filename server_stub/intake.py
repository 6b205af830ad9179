"""Takes in what an attempt sends back: beats, pieces and the report, each fenced by the attempt it names.

Every function is one transaction or pure; beats and reports that wait at the same moment share one. A call about an
attempt that is over is refused with the reason, except the report that ended it: sent again it gets the same answer
again.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from pydantic import ValidationError

from runner_protocol.messages import Heartbeat, HeartbeatReply, ReportEnvelope, ReportReceipt
from runner_protocol.problems import Stale
from runner_protocol.results import RunReport
from runner_protocol.states import JobState
from server_stub.bodies import problem_of
from server_stub.errors import BadRequestError, ConflictError
from server_stub.leases import End, LeaseTerms, after_report, refusal
from server_stub.store import jobs, outputs
from server_stub.store.runner_keys import authenticated
from server_stub.store.tx import Row, Tx

PIECES_MAX = 4096
"""A bound of its own, so that many empty pieces are refused too."""

_SAYS = {
    Stale.SUPERSEDED: "the lease of this attempt was lost",
    Stale.CANCELED: "the job is canceled",
    Stale.FINISHED: "the job has ended",
    Stale.UNKNOWN: "this attempt was never handed to this runner",
}


@dataclass(frozen=True, slots=True)
class Parcel:
    """A whole report, ready to be stored. `identity` tells it from any other that the same attempt could send."""

    report: RunReport
    identity: str
    compressed: bytes
    bytes_whole: int

    @property
    def of(self) -> tuple[UUID, int]:
        """The job, and the number of the attempt."""
        return self.report.job, self.report.attempt


@dataclass(frozen=True, slots=True)
class Taken:
    """What a report has caused."""

    receipt: ReportReceipt
    repeated: bool
    """Whether it was known already."""
    ran_s: float | None = None
    """Since the first heartbeat, where there was one."""


@dataclass(frozen=True, slots=True)
class From:
    """Who sends something about a job: the runner that the path names, and the call's key."""

    named: str
    key: str | None
    job: UUID


def beat(
    tx: Tx, calls: Sequence[tuple[From, Heartbeat]], terms: LeaseTerms
) -> list[tuple[int, HeartbeatReply] | Exception]:
    """Extend leases: for each the runner's id and what it is told.

    In place of it `UnauthorizedError` for a wrong key, `ConflictError` with the reason where the attempt no longer
    holds its lease.
    """
    runners = authenticated(tx, [(sender.named, sender.key) for sender, _ in calls])
    beats = [
        jobs.Beat(str(sender.job), runner["id"], body.attempt, body.progress)
        for runner, (sender, body) in zip(runners, calls, strict=True)
        if not isinstance(runner, Exception)
    ]
    renewed = jobs.renew(tx, beats, terms.lease_ms) if beats else {}
    replies: list[tuple[int, HeartbeatReply] | Exception] = []
    for runner, (sender, body) in zip(runners, calls, strict=True):
        if isinstance(runner, Exception):
            replies.append(runner)
            continue
        holds = (str(sender.job), runner["id"], body.attempt)
        if holds in renewed:
            reply = HeartbeatReply(lease_s=terms.lease_ms / 1000, cancel=renewed[holds] is not None)
            replies.append((runner["id"], reply))
        else:
            replies.append(refused(tx, runner, sender.job, body.attempt))
    return replies


def put_piece(tx: Tx, runner: Row, uuid: UUID, attempt: int, number: int, body: bytes, terms: LeaseTerms) -> None:
    """Keep one piece of a large report, and extend the lease: nothing else is heard while the pieces come.

    Raises `BadRequestError` where it or the whole passes its bound. Once the report that it is part of has been taken
    in, it is let pass: the answer to that report was lost.
    """
    limits = terms.limits
    if _reported(tx, runner, uuid, attempt):
        return
    job = _holder(tx, runner, uuid, attempt)
    if not 0 <= number < PIECES_MAX:
        raise BadRequestError(f"index: must be 0 to {PIECES_MAX - 1}")
    if not 0 < len(body) <= limits.piece_bytes_max:
        raise BadRequestError(f"body: a piece must have 1 to {limits.piece_bytes_max} bytes, has {len(body)}")
    outputs.put_piece(tx, job["id"], attempt, number, body)
    _, bytes_whole = outputs.sizes(tx, job["id"], attempt)
    if bytes_whole > limits.report_bytes_max:
        raise BadRequestError(f"body: a report must have at most {limits.report_bytes_max} bytes, has {bytes_whole}")
    jobs.extend(tx, job, terms.lease_ms)


def earlier_receipt(row: Row | None, runner: Row, identity: str) -> Taken | None:
    """The answer that this very report got before, if it did. `row`: of the job beside the attempt."""
    if row is None or row["reporter"] != runner["id"] or row["report_sha256"] != identity:
        return None
    return Taken(ReportReceipt(state=JobState(row["receipt"])), repeated=True)


def pieces_of(tx: Tx, runner: Row, uuid: UUID, envelope: ReportEnvelope) -> bytes:
    """The report whose pieces were sent before. Raises `BadRequestError` where it is not what was announced."""
    job = _holder(tx, runner, uuid, envelope.attempt)
    rows = outputs.pieces(tx, job["id"], envelope.attempt)
    if [row["number"] for row in rows] != list(range(envelope.pieces or 0)):
        raise BadRequestError(f"pieces: {envelope.pieces} were announced, {len(rows)} have arrived")
    whole = b"".join(row["body"] for row in rows)
    if hashlib.sha256(whole).hexdigest() != envelope.sha256:
        raise BadRequestError("sha256: differs from that of the pieces together")
    return whole


def parcel_of(uuid: UUID, envelope: ReportEnvelope, whole: bytes | None) -> Parcel:
    """Read and compress a report; `whole` is the text of one that came in pieces. Slow for a large one."""
    report = envelope.report if whole is None else _read(whole)
    assert report is not None, "an envelope holds a report or announces pieces"
    if (report.job, report.attempt) != (uuid, envelope.attempt):
        raise BadRequestError("report: `job` and `attempt` must be those of the call")
    text = report.model_dump_json().encode()
    identity = envelope.sha256 or hashlib.sha256(text).hexdigest()
    return Parcel(report, identity, outputs.compress(text), len(text))


def take_reports(tx: Tx, calls: Sequence[tuple[From, Parcel]], terms: LeaseTerms) -> list[Taken | Exception]:
    """End attempts with their reports, no attempt twice: for each what that has caused.

    In place of it `UnauthorizedError` for a wrong key, `ConflictError` with the reason where the attempt is over.
    """
    runners = authenticated(tx, [(sender.named, sender.key) for sender, _ in calls])
    rows = jobs.of_attempts(tx, [(sender.job, parcel.report.attempt) for sender, parcel in calls])
    found = [
        runner if isinstance(runner, Exception) else _judge(tx, runner, rows.get(parcel.of), parcel, terms)
        for runner, (_, parcel) in zip(runners, calls, strict=True)
    ]
    moved = jobs.conclude_all(tx, [one for one in found if isinstance(one, jobs.Ending)])
    # Another process may have been faster since they were read.
    found = [
        refused(tx, {"id": one.job["reporter"]}, *parcel.of)
        if isinstance(one, jobs.Ending) and one.job["id"] not in moved
        else one
        for one, (_, parcel) in zip(found, calls, strict=True)
    ]
    outputs.store_reports(
        tx,
        [
            (one.job["id"], parcel.report.attempt, parcel.compressed, parcel.bytes_whole)
            for one, (_, parcel) in zip(found, calls, strict=True)
            if isinstance(one, jobs.Ending) and isinstance(one.verdict, End)
        ],
    )
    return [_taken(one, tx.now_ms()) if isinstance(one, jobs.Ending) else one for one in found]


def _judge(tx: Tx, runner: Row, job: Row | None, parcel: Parcel, terms: LeaseTerms) -> jobs.Ending | Taken | Exception:
    """What a report comes to. `job`: beside the attempt that it names."""
    if (earlier := earlier_receipt(job, runner, parcel.identity)) is not None:
        return earlier
    if job is None or not _holds(runner, job, parcel.report.attempt):
        return refused(tx, runner, *parcel.of)
    verdict = after_report(jobs.held(job), parcel.report, tx.now_ms(), terms)
    noted = jobs.Noted(parcel.identity, verdict.state if isinstance(verdict, End) else JobState.PENDING)
    return jobs.Ending(job, verdict, parcel.report.outcome, noted)


def _taken(ending: jobs.Ending, now_ms: int) -> Taken:
    assert ending.noted is not None, "a report's ending is noted"
    started_ms = ending.job["started_ms"]
    ran_s = None if started_ms is None else (now_ms - started_ms) / 1000
    return Taken(ReportReceipt(state=ending.noted.receipt), repeated=False, ran_s=ran_s)


def _reported(tx: Tx, runner: Row, uuid: UUID, attempt: int) -> bool:
    """Whether this runner's attempt has ended with a report of its own."""
    row = jobs.of_attempt(tx, uuid, attempt)
    return row is not None and row["reporter"] == runner["id"] and row["report_sha256"] is not None


def refused(tx: Tx, runner: Row, uuid: UUID, attempt: int) -> ConflictError:
    """Why a call about an attempt comes too late."""
    job = jobs.of_attempt(tx, uuid, attempt)
    mine = job is not None and job["reporter"] == runner["id"]
    stale = refusal(jobs.held(job) if mine and job else None, attempt) or Stale.SUPERSEDED
    return ConflictError(f"job {uuid}, attempt {attempt}: {_SAYS[stale]}", stale=stale)


def _holder(tx: Tx, runner: Row, uuid: UUID, attempt: int) -> Row:
    """The job, where this runner holds it under this attempt."""
    job = jobs.by_uuid(tx, uuid)
    if job is None or not _holds(runner, job, attempt):
        raise refused(tx, runner, uuid, attempt)
    return job


def _holds(runner: Row, job: Row, attempt: int) -> bool:
    return job["runner_id"] == runner["id"] and refusal(jobs.held(job), attempt) is None


def _read(whole: bytes) -> RunReport:
    try:
        return RunReport.model_validate_json(whole)
    except ValidationError as error:
        raise BadRequestError(f"report: {problem_of(error)}") from error
