"""Where the server's lines go, and that they can be searched for."""

import json
from pathlib import Path
from uuid import UUID

import pytest
import structlog

from runner_protocol.journal import Journal
from server_stub.logs import configure_logs

pytestmark = pytest.mark.usefixtures("logging_as_it_was")


def test_under_systemd_lines_go_to_the_journal_with_their_fields(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[dict[str, object]] = []
    monkeypatch.setattr(Journal, "warning", lambda _self, **line: sent.append(line))
    with (tmp_path / "stderr").open("w+") as stream:
        found = (tmp_path / "stderr").stat()
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        configure_logs(stream)
        structlog.get_logger().warning("clone_refused", runner="rack-1", key="bencher_runner_" + "x" * 30)
    (line,) = sent
    assert (line["event"], line["runner"], line["level"]) == ("clone_refused", "rack-1", "warning")
    assert line["key"] == "[hidden]"


def test_elsewhere_a_line_is_one_object(tmp_path: Path) -> None:
    with (tmp_path / "lines").open("w+") as stream:
        configure_logs(stream)
        structlog.get_logger().info("job_claimed", job=UUID(int=1), attempt=1)
    line = json.loads((tmp_path / "lines").read_text())
    assert (line["event"], line["job"], line["attempt"]) == ("job_claimed", str(UUID(int=1)), 1)
