"""What a log line looks like to a machine and to a person, and that no secret gets into either."""

import io
import json
import logging
import socket
from pathlib import Path

import pytest
import structlog
from pydantic import SecretStr

from runner_agent.logs import configure
from runner_protocol.journal import Journal

pytestmark = pytest.mark.usefixtures("logging_as_it_was")
KEY = "bencher_runner_" + "x" * 30


def test_a_line_for_machines_is_one_object_with_the_job_bound_to_it() -> None:
    stream = io.StringIO()
    configure("info", "auto", stream)
    with structlog.contextvars.bound_contextvars(job="j", attempt=2):
        structlog.get_logger().info("iteration_ended", number=1, exit_code=0)
        structlog.get_logger().debug("unheard")
    line = json.loads(stream.getvalue())
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "iteration_ended",
        "level": "info",
        "job": "j",
        "attempt": 2,
        "number": 1,
        "exit_code": 0,
    }


def test_a_line_for_people_is_no_object() -> None:
    stream = io.StringIO()
    configure("info", "text", stream)
    structlog.get_logger().warning("host_not_fit", reasons=["disk"])
    assert "host_not_fit" in stream.getvalue()
    with pytest.raises(json.JSONDecodeError):
        json.loads(stream.getvalue())


def test_the_journal_is_given_what_a_line_is_searched_by_as_fields(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(tmp_path / "socket"))
        Journal(io.StringIO(), str(tmp_path / "socket")).send(
            event="pull\nended", level="warning", job="j", attempt=2, n=1
        )
        message = json.dumps({"event": "pull\nended", "level": "warning", "job": "j", "attempt": 2, "n": 1}).encode()
        assert journal.recv(4096) == b"".join(
            name + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"
            for name, value in (
                (b"EVENT", b"pull\nended"),
                (b"JOB", b"j"),
                (b"ATTEMPT", b"2"),
                (b"MESSAGE", message),
                (b"PRIORITY", b"4"),
            )
        )


def test_a_line_that_the_journal_does_not_take_is_on_the_stream(tmp_path: Path) -> None:
    stream = io.StringIO()
    Journal(stream, str(tmp_path / "nobody")).send(event="drained", level="info")
    assert json.loads(stream.getvalue()) == {"event": "drained", "level": "info"}


def test_only_a_stream_that_leads_to_the_journal_is_taken_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "stderr").open("w+") as stream, (tmp_path / "other").open("w+") as other:
        found = (tmp_path / "stderr").stat()
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        configure("info", "auto", stream)
        assert structlog.get_config()["logger_factory"]() == Journal(stream)
        configure("info", "auto", other)
        structlog.get_logger().info("started")
        assert json.loads((tmp_path / "other").read_text())["event"] == "started"


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_key_never_gets_out_wherever_it_was_put(form: str) -> None:
    stream = io.StringIO()
    configure("info", "json" if form == "json" else "text", stream)
    log = structlog.get_logger()
    log.info(KEY, plain=KEY, nested={"a": [("Authorization", f"Bearer {KEY}")]}, secret=SecretStr(KEY))
    log.info("other", header="authorization: bearer abcdefgh.ijkl", error=ValueError(KEY), raw=KEY.encode())
    logging.getLogger("httpx").warning("sent %s", KEY)
    try:
        int(KEY)
    except ValueError:
        log.exception("raised")
    assert "x" * 30 not in stream.getvalue()
    assert "abcdefgh" not in stream.getvalue()
    assert stream.getvalue().count("[hidden]") >= 7


def test_other_libraries_are_heard_from_warnings_on() -> None:
    stream = io.StringIO()
    configure("info", "json", stream)
    logging.getLogger("httpx").info("chatter")
    logging.getLogger("docker").warning("trouble")
    assert [json.loads(line)["said"] for line in stream.getvalue().splitlines()] == ["trouble"]
