"""The whole way of a job on this machine: registry, server, agent, `POST /v0/run`, report. Leaves nothing running.

    ./dev demo [--iterations N] [--keep]

Everything runs on loopback: a registry from Debian's package for the image, the server on SQLite, one agent, one job.
`--keep` leaves server and agent running until Ctrl-C, to look around.
"""

import argparse
import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import image

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "demo"
PORT = 61016
READY_S_MAX = 30.0
STOP_S_MAX = 60.0
BIN = Path(sys.executable).parent


def main() -> int:
    """Run the demo; the exit code is that of the submitted job."""
    arguments = _arguments()
    if not _engine_answers():
        print("No container engine answers `docker info`. Run `./dev demo` as root, or start Docker first.")
        return 1
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="runner-demo-")))
        reference = stack.enter_context(published_image(folder))
        url = stack.enter_context(server(folder))
        stack.enter_context(agent(folder, url))
        code = _submit(url, reference, arguments.iterations)
        _where_next(url, reference, arguments.iterations)
        report_page = _report_page(url)
        if arguments.keep:
            step("server and agent go on until Ctrl-C; the report's page is here:")
            print(report_page, flush=True)
            with contextlib.suppress(KeyboardInterrupt):
                signal.pause()
    step(f"ended: nothing of the demo runs any more; downloaded packages stay in {CACHE.relative_to(ROOT)}")
    if not arguments.keep:
        step("the report's page was here, and can be opened where the server goes on (./dev demo --keep):")
        print(report_page)
    return code


def step(text: str) -> None:
    """Say what happens next."""
    print(f"\033[1m▸ {text}\033[0m" if sys.stdout.isatty() else f"▸ {text}", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev demo", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--iterations", type=int, default=5, help="how many times the image runs (5)")
    parser.add_argument("--keep", action="store_true", help="leave server and agent running until Ctrl-C")
    return parser.parse_args()


def _engine_answers() -> bool:
    return shutil.which("docker") is not None and _docker("info", check=False).returncode == 0


def _docker(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *arguments], check=check, capture_output=True, text=True)


@contextlib.contextmanager
def published_image(folder: Path) -> Iterator[str]:
    """Build the benchmark image and push it to a registry of its own; take both away afterwards."""
    port = free_port()
    reference = f"127.0.0.1:{port}/demo:latest"
    step("building a benchmark image from Debian packages (hyperfine, busybox)")
    image.build(reference, CACHE)
    with _registry(folder, port):
        try:
            _docker("push", "--quiet", reference)
            _docker("image", "rm", reference)  # The agent shall really pull it.
            yield reference
        finally:
            left = _docker("image", "ls", "--quiet", f"127.0.0.1:{port}/demo").stdout.split()
            if left:
                _docker("image", "rm", "--force", *left, check=False)


@contextlib.contextmanager
def _registry(folder: Path, port: int) -> Iterator[None]:
    """A registry on loopback."""
    config = folder / "registry.yml"
    config.write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {folder / 'registry'}}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\n"
    )
    with _running(["docker-registry", "serve", str(config)], folder / "registry.log"):
        _wait_for(f"http://127.0.0.1:{port}/v2/")
        yield


@contextlib.contextmanager
def server(folder: Path) -> Iterator[str]:
    """The API server on SQLite."""
    port = PORT if _is_free(PORT) else free_port()
    url = f"http://127.0.0.1:{port}"
    step(f"starting the server on {url} (SQLite)")
    database = f"sqlite:///{folder / 'bench.db'}"
    terms = ("--cpu", "1", "--memory-mib", "512", "--disk-mib", "1024", "--fallback")
    _operate("spec", "create", "demo", *terms, "--database", database)
    made = _operate("runner", "create", "demo-host", "--spec", "demo", "--json", "--database", database)
    (folder / "runner.key").touch(mode=0o600)
    (folder / "runner.key").write_text(json.loads(made)["key"])
    with _running(
        [str(BIN / "server-stub"), "serve", "--port", str(port), "--database", database], folder / "server.log"
    ):
        _wait_for(f"{url}/v0/server/version")
        yield url


@contextlib.contextmanager
def agent(folder: Path, url: str) -> Iterator[subprocess.Popen[bytes]]:
    """One agent of this host."""
    step("starting the agent")
    environment = {**os.environ, "RUNNER_AGENT_STATE_DIR": str(folder / "agent")}
    command = [str(BIN / "runner-agent"), "run", "--server", url, "--runner", "demo-host"]
    command += ["--key-file", str(folder / "runner.key")]
    with _running(command, folder / "agent.log", environment) as process:
        yield process


def _submit(url: str, reference: str, iterations: int) -> int:
    step(f"POST {url}/v0/run, and waiting for the report")
    command = [
        str(BIN / "server-stub"),
        "submit",
        "--server",
        url,
        "--image",
        reference,
        "--project",
        "demo",
        "--branch",
        "main",
    ]
    command += ["--hash", secrets.token_hex(20), "--testbed", "this-machine", "--adapter", "shell_hyperfine"]
    command += ["--file", image.RESULT_PATH, "--iterations", str(iterations), "--timeout", "120", "--wait"]
    return subprocess.run(command, check=False).returncode


def _where_next(url: str, reference: str, iterations: int) -> None:
    step("the same job with curl, while a server and an agent run (./dev demo --keep)")
    print(f"""  curl -s {url}/v0/run -H 'content-type: application/json' -d '{{
    "project": "demo", "context": {{}}, "branch": "main", "testbed": "this-machine", "results": [],
    "start_time": "{_now()}", "end_time": "{_now()}", "settings": {{"adapter": "shell_hyperfine"}},
    "job": {{"image": "{reference}", "iter": {iterations}, "timeout": 120, "file_paths": ["{image.RESULT_PATH}"]}}
  }}'""")


def _report_page(url: str) -> str:
    """Where the demo's report can be looked at."""
    with urllib.request.urlopen(f"{url}/v0/projects/demo/reports?per_page=1", timeout=READY_S_MAX) as answer:
        return f"{url}/reports/{json.load(answer)[0]['uuid']}"


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _operate(*arguments: str) -> str:
    """One of the operator's verbs; returns what it printed."""
    return subprocess.run([BIN / "server-stub", *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout


@contextlib.contextmanager
def _running(
    command: list[str], log: Path, environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process of ours for the length of a block; ended with SIGTERM, and shown when it ended badly."""
    with log.open("wb") as output:
        # A session of its own: Ctrl-C reaches this program, which then ends the others in order.
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment, start_new_session=True)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        if code not in (0, -signal.SIGTERM, 2):  # The registry answers SIGTERM with 2.
            print(f"{command[0]} ended with {code}; its last words:\n{log.read_text()[-2000:]}", file=sys.stderr)


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + READY_S_MAX
    while True:
        try:
            urllib.request.urlopen(url, timeout=2).close()
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > deadline:
                raise SystemExit(f"{url} does not answer") from None
            time.sleep(0.05)
        else:
            return


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


if __name__ == "__main__":
    sys.exit(main())
