"""The command line as a process: how fast it answers, what it refuses and with which exit code."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

KEY = "bencher_runner_" + "k" * 30


def agent(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RUNNER_AGENT_")}
    command = [sys.executable, "-W", "error", "-m", "runner_agent", *arguments]
    return subprocess.run(
        command,
        env=environment | variables | {"COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def key_file(tmp_path: Path) -> str:
    path = tmp_path / "key"
    path.write_text(KEY)
    return str(path)


def alone(tmp_path: Path) -> dict[str, str]:
    """Variables with which a daemon meets nobody and touches nothing."""
    return {
        "RUNNER_AGENT_STATE_DIR": str(tmp_path / "state"),
        "RUNNER_AGENT_LOCK_FILE": str(tmp_path / "lock"),
        "RUNNER_AGENT_ISOLATION__TUNE": "false",
        "RUNNER_AGENT_ISOLATION__GROUP": "startsanew",
        "RUNNER_AGENT_ENGINE__DOCKER_HOST": f"unix://{tmp_path}/no-engine",
    }


def test_help_names_every_verb() -> None:
    told = agent("--help").stdout
    for verb in ("run", "exec", "status", "restore", "tune", "doctor", "install", "uninstall", "config"):
        assert f"│ {verb} " in told


def test_help_needs_nothing_heavy() -> None:
    code = (
        "import sys, runner_agent.__main__; print(sorted({'docker', 'httpx', 'anyio', 'pydantic'} & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert told.stdout == "[]\n"


def test_the_daemon_loads_nothing_that_only_draws_or_computes_or_reads_its_arguments() -> None:
    code = (
        "import atexit, sys; sys.argv = ['runner-agent', 'run'];"
        "atexit.register(lambda: print(*(name for name, module in sys.modules.items() if module is not None)));"
        "from runner_agent.__main__ import main; main()"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    loaded = {name.partition(".")[0] for name in told.stdout.split()}
    assert {"httpx", "docker", "structlog"} < loaded
    spared = {"rich", "numpy", "scipy", "opentelemetry", "server_stub", "fastapi", "PIL", "typer", "difflib"}
    assert loaded & spared == set()


@contextmanager
def daemon(tmp_path: Path, key_file: str) -> Iterator[tuple["subprocess.Popen[str]", IO[str]]]:
    """A daemon that has begun, whose server is away, and what it says."""
    command = [sys.executable, "-W", "error", "-m", "runner_agent", "run", "--key-file", key_file, "--runner", "r"]
    command += ["--server", "http://127.0.0.1:9"]
    with subprocess.Popen(command, env=os.environ | alone(tmp_path), stderr=subprocess.PIPE, text=True) as process:
        try:
            told = process.stderr
            assert told is not None
            assert "agent_started" in next(told)
            yield process, told
        finally:
            process.kill()


def test_a_daemon_keeps_its_number_its_arguments_and_the_flags_of_its_interpreter(
    tmp_path: Path, key_file: str
) -> None:
    with daemon(tmp_path, key_file) as (process, _):
        assert Path(f"/proc/{process.pid}/cmdline").read_text().split("\0")[:-1] == process.args


def test_a_daemon_outlives_every_reload_and_drains_with_0(tmp_path: Path, key_file: str) -> None:
    with daemon(tmp_path, key_file) as (process, told):
        for _ in range(200):  # They come at every moment of a life, and between lives.
            process.send_signal(signal.SIGHUP)
            time.sleep(0.005)
        process.send_signal(signal.SIGTERM)
        lives = told.read().count("agent_started")
        assert (process.wait(timeout=30), lives > 2) == (0, True)


@pytest.mark.parametrize(("verb", "code"), [("drains=True", 0), ("", 143)], ids=["run", "other verbs"])
def test_a_sigterm_that_comes_before_the_story_ends_it_as_its_verb_should(verb: str, code: int) -> None:
    story = (
        "import os, signal, sys, anyio; from runner_agent.exits import hold_signals, live; hold_signals();"
        "os.kill(os.getpid(), signal.SIGHUP) if len(sys.argv) > 1 else None; os.kill(os.getpid(), signal.SIGTERM);"
        f"sys.exit(live(lambda: anyio.sleep(30), {verb}))"
    )
    command = [sys.executable, "-c", story, *([verb] if verb else [])]
    assert subprocess.run(command, timeout=60, check=False).returncode == code


def test_a_wrong_setting_ends_with_78_and_one_sentence(tmp_path: Path, key_file: str) -> None:
    ended = agent("run", "--key-file", key_file, "--server", "nowhere", RUNNER_AGENT_STATE_DIR=str(tmp_path))
    assert (ended.returncode, ended.stdout) == (78, "")
    assert ended.stderr.startswith("runner-agent: `server` on the command line as --server: ")
    assert "Traceback" not in ended.stderr


def test_a_missing_name_and_a_missing_key_end_with_78(tmp_path: Path, key_file: str) -> None:
    unnamed = agent("run", "--key-file", key_file)
    keyless = agent("run", "--runner", "r", "--key-file", str(tmp_path / "none"))
    assert (unnamed.returncode, keyless.returncode) == (78, 78)
    assert unnamed.stderr == "runner-agent: `runner` is not set: the name under which the server knows this host\n"
    assert keyless.stderr == f"runner-agent: `key_file` {tmp_path / 'none'}: No such file or directory\n"


def test_a_second_agent_on_the_host_ends_with_75(tmp_path: Path, key_file: str) -> None:
    lock = tmp_path / "lock"
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        held.write("4711\n")
        held.flush()
        ended = agent(
            *("run", "--runner", "r", "--key-file", key_file, "--state-dir", str(tmp_path)),
            RUNNER_AGENT_LOCK_FILE=str(lock),
        )
    assert (ended.returncode, ended.stderr) == (
        75,
        f"runner-agent: another agent (process 4711) holds this host: {lock}\n",
    )


def test_config_check_shows_every_setting_and_where_it_was_set(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("warm_ups = 2\n")
    ended = agent("config", "check", "--config", str(path), RUNNER_AGENT_RUNNER="bench-1")
    lines = ended.stdout.splitlines()
    assert ended.returncode == 0
    assert f"warm_ups = 2  (in {path})" in lines
    assert "runner = bench-1  (in the variable RUNNER_AGENT_RUNNER)" in lines
    assert "gate.clock_offset_s_max = 86400.0  (default)" in lines


def test_a_variable_of_a_job_needs_a_name_and_a_value() -> None:
    ended = agent("exec", "--env", "HOME", "image")
    assert ended.returncode == 2
    assert "'HOME' is not NAME=VALUE" in ended.stderr


def test_an_armed_point_stops_the_process_once() -> None:
    code = "from runner_agent.points import at; at('claim.before'); at('claim.after'); at('claim.after'); print('on')"
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env=os.environ | {"RUNNER_AGENT_STOP_AT": "claim.after"},
        stdout=subprocess.PIPE,
        text=True,
    )
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    process.send_signal(signal.SIGCONT)
    assert process.communicate(timeout=30)[0] == "on\n"
