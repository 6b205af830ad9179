"""`runner-agent exec` on the real engine: one job with no server, and what would have been reported."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from runner_protocol.results import FaultClass, Outcome, RunReport

# One after the other: they share a name, and each removes what the one before has left.
pytestmark = [pytest.mark.docker, pytest.mark.xdist_group("exec")]


def start(tmp_path: Path, *arguments: str) -> subprocess.Popen[str]:
    variables = {"RUNNER_AGENT_STATE_DIR": str(tmp_path), "RUNNER_AGENT_LOCK_FILE": str(tmp_path / "lock")}
    # This machine is not ours to tune, and never quiet while tests run on it.
    variables |= {"RUNNER_AGENT_ISOLATION__TUNE": "false", "RUNNER_AGENT_RERUNS_MAX": "0"}
    variables |= {"RUNNER_AGENT_ISOLATION__GROUP": "benchexec"}
    command = [sys.executable, "-W", "error", "-m", "runner_agent", "exec", "--memory-mib", "64", *arguments]
    return subprocess.Popen(
        command, env=os.environ | variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def exec_(tmp_path: Path, *arguments: str) -> tuple[int | None, RunReport]:
    process = start(tmp_path, "--json", *arguments)
    out, err = process.communicate(timeout=120)
    assert "Traceback" not in err, err
    return process.returncode, RunReport.model_validate_json(out)


def containers_of_exec() -> list[str]:
    listing = ["docker", "ps", "--all", "--quiet", "--filter", "label=dev.runner-agent.identity=exec"]
    return subprocess.run(listing, capture_output=True, text=True, check=True).stdout.split()


def test_a_job_runs_without_a_server_and_its_whole_report_is_printed(tmp_path: Path, bench_image: str) -> None:
    code, report = exec_(
        tmp_path,
        "-n",
        "2",
        "--env",
        "WHO=me",
        "--file",
        "/tmp/out",
        bench_image,
        "sh",
        "-c",
        "echo $WHO | tee /tmp/out",
    )
    assert (code, report.outcome, report.fault) == (0, Outcome.COMPLETED, None)
    assert [(each.exit_code, each.stdout.text, each.files[0].content) for each in report.iterations] == [
        (0, "me\n", "me\n")
    ] * 2
    assert report.digest is not None and report.digest.startswith("sha256:")
    assert containers_of_exec() == []


def test_a_failure_is_shown_to_a_person_with_its_output_and_ends_with_1(tmp_path: Path, bench_image: str) -> None:
    process = start(tmp_path, "-n", "3", bench_image, "sh", "-c", "echo sum is wrong >&2; exit 4")
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    for part in ("failed", "exit_code at iterate", "stderr of the last iteration", "sum is wrong"):
        assert part in out


def test_an_interrupt_removes_the_container_and_prints_what_there_was(tmp_path: Path, bench_image: str) -> None:
    since = time.time()
    process = start(tmp_path, "--json", "-n", "2", bench_image, "sh", "-c", "sleep 600")
    wait_for_container(since)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    report: dict[str, Any] = json.loads(out)
    assert (process.returncode, report["outcome"], report["fault"]["kind"]) == (1, "released", FaultClass.AGENT_STOPPED)
    assert containers_of_exec() == []


def wait_for_container(since: float) -> None:
    events = ["docker", "events", "--since", f"{since:.3f}", "--filter", "label=dev.runner-agent.identity=exec"]
    with subprocess.Popen([*events, "--filter", "event=start"], stdout=subprocess.PIPE, text=True) as heard:
        assert heard.stdout is not None
        assert "container start" in heard.stdout.readline()
        heard.terminate()
