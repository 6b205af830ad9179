"""Jobs, attempts and runners as the API shows them: that API's members, and ours beside them. Pure.

Clients of that API decode strictly what they know and ignore the rest: a member of theirs keeps its type, always.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from runner_protocol.results import FileEncoding, IterationRecord, RunReport
from runner_protocol.states import TERMINAL, JobState
from server_stub.store.tx import Row
from server_stub.times import from_ms
from server_stub.waiting import RunnerState, Waiting

NEVER_STARTED = -1
"""The exit code of an iteration that has none: clients need a number."""


def job_json(row: Row, spec: Mapping[str, Any]) -> dict[str, Any]:
    """What lists show of a job, and every page of one."""
    return {
        "uuid": row["uuid"],
        "status": row["state"],
        "spec": spec,
        "runner": row["runner_uuid"],
        "claimed": from_ms(row["claimed_ms"]),
        "started": from_ms(row["started_ms"]),
        "completed": from_ms(row["ended_ms"]),
        "created": from_ms(row["created_ms"]),
        "modified": from_ms(row["modified_ms"]),
        "attempt": row["attempt"],
        "priority": row["priority"],
        "timeout": row["timeout_s"],
        "cancel_requested": row["cancel_ms"] is not None and JobState(row["state"]) not in TERMINAL,
        "progress": _json(row["progress"]),
        "fault": _json(row["fault"]),
    }


def waiting_json(waiting: Waiting) -> dict[str, Any]:
    """Why a job waits."""
    return asdict(waiting)


def attempt_json(row: Row) -> dict[str, Any]:
    """One attempt, and how it ended."""
    return {
        "attempt": row["attempt"],
        "runner": row["runner_uuid"],
        "claimed": from_ms(row["claimed_ms"]),
        "confirmed": from_ms(row["confirmed_ms"]),
        "ended": from_ms(row["ended_ms"]),
        "ending": row["ending"],
        "fault": _json(row["fault"]),
    }


def result_json(report: RunReport) -> dict[str, Any]:
    """What stands behind the numbers: the digest that ran, the host, its isolation, the trust and the stages' times."""
    whole = report.model_dump(mode="json", exclude={"iterations"})
    return {name: whole[name] for name in ("digest", "baseline_digest", "host", "isolation", "trust", "stage_s")}


def output_json(report: RunReport) -> dict[str, Any]:
    """What every iteration printed, in the order of running; `error` only where the job did not end well."""
    shown: dict[str, Any] = {"results": [_iteration_json(record) for record in report.iterations]}
    return shown | ({"error": report.fault.message} if report.fault else {})


def runner_json(row: Row, specs: list[str]) -> dict[str, Any]:
    """What the API shows of a runner."""
    return {
        "uuid": row["uuid"],
        "name": row["name"],
        "slug": row["slug"],
        "specs": specs,
        "archived": from_ms(row["archived_ms"]),
        "last_heartbeat": from_ms(row.get("seen_ms")),
        "created": from_ms(row["created_ms"]),
        "modified": from_ms(row["modified_ms"]),
    }


def runner_state_json(row: Row, state: RunnerState) -> dict[str, Any]:
    """What an operator wants to see beside: one word, the job, the agent and host as they told of themselves."""
    said = _json(row["said"]) or {}
    return {
        "state": state,
        "job": row["job_uuid"],
        "progress": _json(row["job_progress"]),
        "drained": from_ms(row["drained_ms"]),
        "drain_reason": row["drain_reason"],
        "agent": _json(row["agent"]),
        "host": said.get("host"),
        "isolation": said.get("isolation"),
        "blocked": said.get("blocked", []),
        "spooled": said.get("spooled", 0),
        "clone": _json(row["rival"]),
    }


def _iteration_json(record: IterationRecord) -> dict[str, Any]:
    shown: dict[str, Any] = {"exit_code": NEVER_STARTED if record.exit_code is None else record.exit_code}
    for name, stream in (("stdout", record.stdout), ("stderr", record.stderr)):
        if stream.text or stream.dropped_bytes:
            shown[name] = stream.text
    texts = {file.path: file.content for file in record.files if file.encoding is FileEncoding.UTF8}
    if files := {path: content for path, content in texts.items() if content is not None}:
        shown["output"] = files
    ours = record.model_dump(mode="json", exclude={"exit_code", "stdout", "stderr", "files"})
    dropped = {"stdout_dropped_bytes": record.stdout.dropped_bytes, "stderr_dropped_bytes": record.stderr.dropped_bytes}
    return shown | ours | dropped


def _json(text: str | None) -> Any:
    return None if text is None else json.loads(text)
