"""What attempts sent back: reports stored compressed, and the pieces of a large one until it is whole."""

import zlib
from collections.abc import Sequence
from uuid import UUID

from runner_protocol.results import RunReport
from server_stub.errors import NotFoundError
from server_stub.store.tx import Row, Tx

# Level 1: text shrinks to a fifth at 100 MB/s or so; higher levels cost the server more than the disk is worth.
COMPRESSION = 1


def compress(report: bytes) -> bytes:
    """A report's JSON, as it is stored. Slow for a large one: call it outside of a transaction."""
    return zlib.compress(report, COMPRESSION)


def store_reports(tx: Tx, reports: Sequence[tuple[int, int, bytes, int]]) -> None:
    """Keep the reports of attempts that ended their jobs: job's id, attempt, compressed report, its whole bytes."""
    if reports:
        tx.insert("job_output", ("job_id", "attempt", "report", "report_bytes"), reports)


def stored_report(tx: Tx, uuid: UUID) -> RunReport:
    """The report of a job. Raises `NotFoundError` where none is stored."""
    report = find_report(tx, uuid)
    if report is None:
        raise NotFoundError(f"job {uuid}: no report is stored")
    return report


def unparsed(tx: Tx, uuid: UUID) -> Row:
    """A job's row with its `work`, its `settings` and its `report`. Raises `NotFoundError` where none is stored."""
    row = tx.one(
        "SELECT j.*, q.work, q.settings, o.report FROM job j JOIN job_request q ON q.job_id = j.id"
        " JOIN job_output o ON o.job_id = j.id WHERE j.uuid = :uuid",
        uuid=str(uuid),
    )
    if row is None:
        raise NotFoundError(f"job {uuid}: no report is stored")
    return row | {"report": _read(row["report"])}


def _read(compressed: bytes) -> RunReport:
    return RunReport.model_validate_json(zlib.decompress(compressed))


def find_report(tx: Tx, uuid: UUID) -> RunReport | None:
    """The report of a job, where one is stored."""
    sql = "SELECT o.report FROM job_output o JOIN job j ON j.id = o.job_id WHERE j.uuid = :uuid"
    compressed = tx.value(sql, uuid=str(uuid))
    return None if compressed is None else _read(compressed)


def sizes(tx: Tx, job_id: int, attempt: int) -> tuple[int, int]:
    """How many pieces of a report have arrived, and their bytes together."""
    row = tx.one(
        "SELECT COUNT(*) AS pieces, COALESCE(SUM(body_bytes), 0) AS bytes FROM report_piece"
        " WHERE job_id = :job AND attempt = :attempt",
        job=job_id,
        attempt=attempt,
    )
    assert row is not None
    return int(row["pieces"]), int(row["bytes"])


def put_piece(tx: Tx, job_id: int, attempt: int, number: int, body: bytes) -> None:
    """Keep one piece; sent again, it replaces the one before."""
    tx.run(
        "DELETE FROM report_piece WHERE job_id = :job AND attempt = :attempt AND number = :number",
        job=job_id,
        attempt=attempt,
        number=number,
    )
    columns = ("job_id", "attempt", "number", "body", "body_bytes")
    tx.insert("report_piece", columns, [(job_id, attempt, number, body, len(body))])


def pieces(tx: Tx, job_id: int, attempt: int) -> list[Row]:
    """All pieces, in order: `number` and `body`."""
    return tx.all(
        "SELECT number, body FROM report_piece WHERE job_id = :job AND attempt = :attempt ORDER BY number",
        job=job_id,
        attempt=attempt,
    )
