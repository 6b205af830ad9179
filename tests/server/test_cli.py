"""The operator's command line: on both databases, beside a running server, with exit codes that mean something."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
import typer
from queue_world import new_job, new_project
from typer.testing import CliRunner, Result

from server_stub.__main__ import app
from server_stub.commands import submit
from server_stub.settings import read_settings
from server_stub.store.database import Database
from server_stub.store.specs import find

START_S_MAX = 120
"""A machine that does much else at the same time takes its while to import a server."""


@pytest.fixture
def stub(database_url: str, monkeypatch: pytest.MonkeyPatch) -> "Stub":
    return Stub(database_url)


class Stub:
    """`server-stub` on one database."""

    def __init__(self, url: str) -> None:
        self.url = url

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(app, [*arguments, "--database", self.url], env={"TERM": "dumb", "COLUMNS": "200"})

    def json(self, *arguments: str) -> Any:
        done = self.run(*arguments, "--json")
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    def job(self) -> str:
        database = Database.open(self.url)
        try:
            made = database.wait(lambda tx: new_job(tx, new_project(tx), find(tx, "small")["id"]))
        finally:
            database.close()
        return str(made)

    def fleet(self) -> dict[str, Any]:
        """A spec and a runner; the runner as `runner create` printed it."""
        self.json("spec", "create", "small", "--cpu", "2", "--fallback")
        made: dict[str, Any] = self.json("runner", "create", "Rack 1", "--spec", "small")
        return made


def test_a_runner_is_made_with_a_key_that_is_shown_once(stub: Stub) -> None:
    made = stub.fleet()
    assert (made["slug"], made["specs"]) == ("rack-1", ["small"])
    assert re.fullmatch("bencher_runner_[0-9A-Za-z]{30}", made["key"])
    shown = stub.run("runner", "show", "Rack 1")
    assert "rack-1" in shown.stdout and made["key"] not in shown.output
    assert [one["state"] for one in stub.json("runner", "list")] == ["never_seen"]


def test_the_join_command_is_printed_for_a_person(stub: Stub) -> None:
    done = stub.run("runner", "create", "Rack 1", "--server", "https://bench.example")
    assert "runner-agent install --server https://bench.example --runner rack-1 --key-file runner.key" in done.stdout
    assert "another host" not in done.stdout


def test_the_join_command_says_that_localhost_is_no_address_for_other_hosts(stub: Stub) -> None:
    assert "On another host than this one" in stub.run("runner", "create", "Rack 1").stdout


def test_the_join_command_runs_nothing_that_stands_in_its_url(stub: Stub) -> None:
    done = stub.run("runner", "create", "Rack 1", "--server", "https://bench.example/a;reboot")
    assert "--server 'https://bench.example/a;reboot' --runner" in done.stdout
    assert stub.run("runner", "create", "Rack 2", "--server", "bench.example; reboot").exit_code == 2


def test_what_steers_a_terminal_or_ends_a_cell_is_not_printed_but_kept_in_json(stub: Stub) -> None:
    stub.fleet()
    reason = "disk\tfull\n\x1b[2J\x9b31m"
    assert stub.run("runner", "drain", "rack-1", "--reason", reason).exit_code == 0
    lines = stub.run("runner", "list").stdout.splitlines()
    assert [line.split("\t")[-1] for line in lines] == ["NOTE", "disk full  [2J 31m"]
    assert "disk full  [2J 31m" in stub.run("runner", "show", "rack-1").stdout
    assert stub.json("runner", "list")[0]["note"] == reason


def test_a_state_that_no_job_can_have_is_wrong_usage(stub: Stub) -> None:
    done = stub.run("job", "list", "--state", "bogus")
    assert (done.exit_code, done.stdout) == (2, "")


def test_runners_are_drained_resumed_and_removed(stub: Stub) -> None:
    stub.fleet()
    assert stub.run("runner", "drain", "rack-1", "--reason", "new disk").exit_code == 0
    shown = stub.json("runner", "show", "rack-1")
    assert (shown["state"], shown["note"]) == ("drained", "new disk")
    assert stub.run("runner", "resume", "rack-1").exit_code == 0
    assert stub.run("runner", "deny", "rack-1", "small").exit_code == 0
    assert stub.run("runner", "allow", "rack-1", "small").exit_code == 0
    assert stub.run("runner", "remove", "rack-1").exit_code == 0
    assert stub.json("runner", "list") == []
    assert [one["state"] for one in stub.json("runner", "list", "--removed")] == ["removed"]


@pytest.mark.parametrize("words", ["drain", "resume", "remove", "rotate-key", "allow small", "deny small"])
def test_a_removed_runner_is_not_steered(stub: Stub, words: str) -> None:
    stub.fleet()
    stub.run("runner", "remove", "rack-1")
    verb, *spec = words.split()
    done = stub.run("runner", verb, "rack-1", *spec)
    assert (done.exit_code, done.stdout) == (4, "")
    assert done.stderr == "server-stub: runner rack-1 is archived\n"


def test_a_name_means_the_living_runner_before_the_removed_one_that_has_it_as_its_slug(stub: Stub) -> None:
    old = stub.json("runner", "create", "r1")
    stub.run("runner", "remove", "r1")
    assert stub.json("runner", "show", "r1")["state"] == "removed"
    new = stub.json("runner", "create", "r1")
    assert stub.run("runner", "drain", "r1").exit_code == 0
    shown = [stub.json("runner", "show", named) for named in ("r1", new["slug"], old["uuid"])]
    assert [(one["uuid"], one["state"]) for one in shown] == [
        (new["uuid"], "drained"),
        (new["uuid"], "drained"),
        (old["uuid"], "removed"),
    ]


def test_a_key_is_rotated_with_an_overlap(stub: Stub) -> None:
    made = stub.fleet()
    assert stub.json("runner", "rotate-key", "rack-1")["key"] != made["key"]
    assert stub.json("runner", "rotate-key", "rack-1", "--now")["uuid"] == made["uuid"]


def test_a_new_key_comes_with_the_line_that_brings_it_to_its_host(stub: Stub) -> None:
    stub.fleet()
    printed = stub.run("runner", "rotate-key", "rack-1").stdout
    (key,) = set(re.findall(r"bencher_runner_\w+", printed))
    line = f"(umask 077 && echo {key} > runner.key) && runner-agent install --key-file runner.key"
    assert printed.splitlines()[-1] == f"  {line}"


def test_jobs_and_the_queue_are_shown_canceled_and_retried(stub: Stub) -> None:
    stub.fleet()
    uuid = stub.job()
    (depth,) = stub.json("queue")
    assert (depth["spec"], depth["pending"], depth["leased"], depth["runners"]) == ("small", 1, 0, {"never_seen": 1})
    shown = stub.json("job", "show", uuid)
    assert (shown["status"], shown["waiting"]["reason"], shown["spec"]["slug"]) == ("pending", "runners_lost", "small")
    assert stub.run("job", "cancel", uuid).exit_code == 0
    assert [one["status"] for one in stub.json("job", "list", "--state", "canceled")] == ["canceled"]
    retried = stub.run("job", "retry", uuid)
    assert (retried.exit_code, "without registry credentials" in retried.stdout) == (0, True)
    again = stub.run("job", "retry", uuid)
    assert (again.exit_code, "is pending" in again.stderr) == (4, True)
    lines = stub.run("job", "list").stdout.splitlines()
    assert lines[0].split("\t")[:3] == ["JOB", "STATE", "PROJECT"]
    assert lines[1].split("\t")[:3] == [uuid, "pending", "demo"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("runner", "show", "nobody"), 3, "there is no runner 'nobody'"),
        (("runner", "create", " x"), 1, "name: must not start or end with white space"),
        (("runner", "create", "x", "--spec", "none"), 3, "there is no spec 'none'"),
        (("spec", "create", "small"), 4, "name: a spec has the name 'small' already"),
        (("spec", "create", "x", "--architecture", "z80"), 1, "architecture: "),
        (("job", "show", "00000000-0000-0000-0000-000000000000"), 3, "there is no job"),
        (("token", "create", "ci"), 1, "either --user or --project"),
        (("token", "create", "ci", "--user", "nobody"), 3, "there is no user 'nobody'"),
        (("token", "create", "ci", "--project", "none"), 3, "there is no project 'none'"),
        (("backup", "/proc/none/copy.db"), 1, "/proc/none/copy.db.partial cannot be written: "),
    ],
)
def test_what_is_refused_says_so_in_one_line(stub: Stub, arguments: tuple[str, ...], code: int, message: str) -> None:
    stub.fleet()
    done = stub.run(*arguments)
    assert (done.exit_code, done.stdout) == (code, "")
    assert done.stderr.startswith(f"server-stub: {message}") and done.stderr.count("\n") == 1


@pytest.mark.parametrize("create", [False, True], ids=["looked at", "made"])
@pytest.mark.parametrize(
    ("url", "code", "message"),
    [
        ("mysql://u:secret@h/x", 1, "database: mysql://… is neither sqlite:///FILE nor postgresql://…"),
        ("mysql:u:secret@h/x", 1, "database: the URL is neither sqlite:///FILE nor postgresql://…"),
        ("postgresql://u:se%cret@h/x", 1, "database: postgresql://… is no URL of PostgreSQL's"),
        ("postgresql://u:secret@[::1/x", 1, "database: postgresql://… is no URL of PostgreSQL's"),
        ("sqlite:///{tmp}/text.db", 69, "the database {tmp}/text.db cannot be opened: file is not a database"),
        # As closed to root as a directory of another user's is to anybody else.
        ("sqlite:///{tmp}/{long}/x.db", 69, "the database {tmp}/{long}/x.db cannot be opened: File name too long"),
    ],
    ids=["another kind", "no kind", "percent sign", "bracket", "text", "directory"],
)
def test_a_database_that_cannot_be_opened_is_told_in_one_line_without_its_password(
    tmp_path: Path, url: str, code: int, message: str, create: bool
) -> None:
    (tmp_path / "text.db").write_text("not a database at all" * 100)
    names = {"tmp": str(tmp_path), "long": "x" * 300}
    done = Stub(url.format(**names)).run("runner", *(["create", "r1"] if create else ["list"]))
    assert (done.exit_code, done.stdout) == (code, "")
    assert done.stderr.startswith(f"server-stub: {message.format(**names)}") and done.stderr.count("\n") == 1
    assert "cret" not in done.stderr


def test_users_get_tokens_and_projects_get_keys(stub: Stub) -> None:
    stub.fleet()
    stub.job()
    assert stub.json("user", "create", "Ada", "--email", "ada@example.org", "--admin")["admin"] is True
    assert stub.run("token", "create", "ci", "--user", "ada").stdout.count(".") == 2
    assert stub.run("token", "create", "ci", "--user", "ada", "--key").stdout.startswith("bencher_user_")
    assert stub.run("token", "create", "ci", "--project", "demo").stdout.startswith("bencher_run_")


def test_the_schema_is_migrated_once(stub: Stub) -> None:
    first, second = stub.run("migrate"), stub.run("migrate")
    assert first.stdout.splitlines()[:2] == ["0001_initial", "0002_queue"]
    assert second.stdout == "nothing to do\n"


def test_a_database_that_is_not_there_is_not_made_by_looking_at_it(tmp_path: Path) -> None:
    done = Stub(f"sqlite:///{tmp_path / 'typo.db'}").run("queue")
    assert (done.exit_code, (tmp_path / "typo.db").exists()) == (3, False)


def test_a_live_database_is_backed_up_and_restored(tmp_path: Path) -> None:
    stub, copy = Stub(f"sqlite:///{tmp_path / 'bench.db'}"), tmp_path / "copy.db"
    stub.fleet()
    uuid = stub.job()
    assert stub.run("backup", str(copy)).exit_code == 0
    assert stub.run("backup", str(copy)).exit_code == 4
    assert stub.run("job", "cancel", uuid).exit_code == 0
    assert stub.run("restore", str(copy)).exit_code == 4
    in_use = Database.open(stub.url)
    in_use.wait(lambda tx: tx.value("SELECT COUNT(*) FROM job"))
    busy = stub.run("restore", str(copy), "--force")
    in_use.close()
    assert (busy.exit_code, "stop the server first" in busy.stderr) == (4, True)
    assert stub.run("restore", str(copy), "--force").exit_code == 0
    assert stub.json("job", "show", uuid)["status"] == "pending"


def test_only_a_sound_backup_of_ours_is_restored(tmp_path: Path) -> None:
    stub, file = Stub(f"sqlite:///{tmp_path / 'bench.db'}"), tmp_path / "copy.db"
    file.write_bytes(b"not a database at all" * 100)
    done = stub.run("restore", str(file))
    assert (done.exit_code, "is no backup of ours" in done.stderr) == (1, True)
    assert not (tmp_path / "bench.db").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("prot = 1", "no setting is called `prot`; did you mean `port`?"),
        ("port = 70000", "{file}: port: Input should be less than or equal to 65535"),
        ("port = ", "{file}: "),
    ],
)
def test_a_wrong_setting_is_named_with_its_file(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "server.toml"
    file.write_text(content)
    done = CliRunner().invoke(app, ["queue", "--config", str(file)])
    assert (done.exit_code, message.format(file=file) in done.stderr) == (78, True)


def test_the_page_lists_every_event_that_the_server_logs() -> None:
    root = Path(__file__).parents[2]
    logged = re.compile(r"""\.(?:info|warning|error|exception|log)\(\s*(?:record\.levelno, )?"([a-z_]+)"[,)]""")
    events = {name for file in (root / "server_stub").rglob("*.py") for name in logged.findall(file.read_text())}
    page = (root / "docs/operations.md").read_text()
    listed = re.search(r"The server's are (.+?)\.\n", page, re.DOTALL)
    assert listed is not None
    assert set(re.findall(r"`(\w+)`", listed[1])) - {"ending"} == events


def test_a_wrong_setting_is_named_with_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    done = CliRunner().invoke(app, ["queue"], env={"SERVER_STUB_LEASE_S": "-1"})
    assert (done.exit_code, "environment variable SERVER_STUB_LEASE_S: " in done.stderr) == (78, True)


def test_an_option_wins_over_the_environment_and_that_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "server.toml"
    file.write_text('port = 1\nhost = "::1"\nlease_s = 99')
    monkeypatch.setenv("SERVER_STUB_PORT", "2")
    monkeypatch.setenv("SERVER_STUB_HOST", "::2")
    settings = read_settings(file, port=3, host=None)
    assert (settings.port, settings.host, settings.lease_s) == (3, "::2", 99)


@contextmanager
def serving(url: str) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """A real server process on a free port; its URL."""
    command = [sys.executable, "-m", "server_stub", "serve", "--port", "0", "--database", url]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    watchdog = threading.Timer(START_S_MAX, process.kill)
    watchdog.start()
    assert process.stderr is not None
    try:
        first = process.stderr.readline()
        yield json.loads(first)["url"], process
    finally:
        watchdog.cancel()
        process.kill()
        process.communicate()


def test_sigterm_answers_a_poll_that_waits_and_the_process_ends_with_0(stub: Stub) -> None:
    made = stub.fleet()
    with serving(stub.url) as (url, process):
        headers = {"authorization": f"Bearer {made['key']}"}
        with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
            answers: list[int] = []
            path, body = f"/v0/runners/{made['uuid']}/jobs", {"poll_timeout": 900}
            poll = threading.Thread(target=lambda: answers.append(client.post(path, json=body).status_code))
            poll.start()
            while "bench_polls_open 1.0" not in httpx.get(f"{url}/metrics").text:
                pass
            process.send_signal(signal.SIGTERM)
            poll.join(60)
            assert (answers, process.wait(60)) == ([204], 0)


def test_submit_follows_a_job_to_its_report(tmp_path: Path) -> None:
    stub = Stub(f"sqlite:///{tmp_path / 'bench.db'}")
    made = stub.fleet()
    with serving(stub.url) as (url, _):
        agent = threading.Thread(target=_run_one_job, args=(url, made))
        agent.start()
        command = [sys.executable, "-m", "server_stub", "submit", "--image", "localhost:5000/bench:v1", "--wait"]
        options = ["--project", "demo", "--branch", "main", "--server", url]
        done = subprocess.run(
            [*command, *options],
            capture_output=True,
            text=True,
            timeout=120,
            env=os.environ | {"COLUMNS": "200"},
            check=False,
        )
        agent.join(60)
    assert done.returncode == 0, done.stderr
    row = next(line for line in done.stdout.splitlines() if line.startswith("fast"))
    assert row.split()[:5] == ["fast", "Latency", "·", "nanoseconds", "(ns)"]
    assert "12.5" in row and "no alerts" in done.stdout and "ran on rack" in done.stdout
    assert "processed" in done.stderr


def test_submit_fails_with_its_job_and_shows_the_last_words(tmp_path: Path) -> None:
    stub = Stub(f"sqlite:///{tmp_path / 'bench.db'}")
    made = stub.fleet()
    fault = {"kind": "exit_code", "stage": "iterate", "message": "exit code 3", "exit_code": 3}
    with serving(stub.url) as (url, _):
        agent = threading.Thread(target=_run_one_job, args=(url, made, fault))
        agent.start()
        options = ["--project", "demo", "--branch", "main", "--server", url, "--wait"]
        done = CliRunner().invoke(app, ["submit", "--image", "localhost:5000/bench:v1", *options])
        agent.join(60)
    assert done.exit_code == 5
    assert "failed in stage iterate: exit code 3" in done.stdout and "stdout │" in done.stdout


def test_submit_says_that_no_server_is_there() -> None:
    done = CliRunner().invoke(app, ["submit", "--image", "a", "--server", "http://127.0.0.1:9"])
    assert (done.exit_code, "cannot be reached" in done.stderr) == (69, True)


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--server", "http://a:b", "Invalid port"),
        ("--server", "localhost:61016", "has to be http://HOST"),
        ("--token-file", "{tmp}", "is a directory"),
    ],
    ids=["port", "no scheme", "directory"],
)
def test_an_option_of_submit_that_cannot_be_meant_is_wrong_usage(
    tmp_path: Path, option: str, value: str, said: str
) -> None:
    arguments = ["submit", "--image", "a", option, value.format(tmp=tmp_path)]
    done = CliRunner().invoke(app, arguments, env={"TERM": "dumb", "COLUMNS": "200"})
    assert (done.exit_code, said in done.stderr) == (2, True), done.output


@pytest.mark.parametrize("content", ["two words", "schlüssel", "\x80"], ids=["two words", "umlaut", "binary"])
def test_a_file_that_holds_no_token_is_refused_without_being_shown(tmp_path: Path, content: str) -> None:
    file = tmp_path / "token"
    file.write_text(content, encoding="latin-1")
    done = CliRunner().invoke(app, ["submit", "--image", "a", "--token-file", str(file)])
    assert (done.exit_code, done.stderr.count("\n"), content in done.stderr) == (1, 1, False)


class Proxy(BaseHTTPRequestHandler):
    """Answers what a job's last state is, and while `outages` last, what a proxy says of a server that is away."""

    outages: ClassVar[int] = 0

    def do_GET(self) -> None:
        """Asked for the job."""
        away = Proxy.outages > 0
        Proxy.outages -= 1
        body = b"<html><h1>502 Bad Gateway</h1></html>" if away else b'{"status": "processed", "attempt": 1}'
        self.send_response(502 if away else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def proxy(outages: int) -> Iterator[str]:
    """A proxy before a server that is away for so many calls; its URL."""
    Proxy.outages = outages
    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_submit_waits_on_while_a_proxy_says_that_the_server_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submit, "POLL_S", 0.01)
    report = {"project": {"slug": "demo"}, "job": "x"}
    with proxy(outages=3) as url, submit.Api(url, None) as api:
        assert submit.follow(api, report, quiet=True)["status"] == "processed"


def test_submit_gives_up_after_its_bound_of_tries_and_says_what_was_answered(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(submit, "POLL_S", 0.0)
    with proxy(outages=1000) as url, submit.Api(url, None) as api, pytest.raises(typer.Exit) as ended:
        api.get("/v0/x")
    assert (ended.value.exit_code, Proxy.outages) == (69, 1000 - submit.TRIES)
    assert capsys.readouterr().err == f"server-stub: {url}/v0/x answers 502 Bad Gateway\n"


def _run_one_job(url: str, runner: dict[str, str], fault: dict[str, Any] | None = None) -> None:
    """What an agent says of a job whose benchmark printed one metric."""
    path = f"/v0/runners/{runner['slug']}/jobs"
    printed = {"text": json.dumps({"fast": {"latency": {"value": 12.5}}}, indent=1)}
    with httpx.Client(base_url=url, headers={"authorization": f"Bearer {runner['key']}"}, timeout=90) as client:
        job = client.post(path, json={"poll_timeout": 60}).json()
        attempt, progress = job["attempt"], {"stage": "iterate", "iterations": 1}
        client.post(f"{path}/{job['job']}/heartbeat", json={"attempt": attempt, "progress": progress})
        report = {"job": job["job"], "attempt": attempt, "outcome": "failed" if fault else "completed", "fault": fault}
        report |= {"host": {"hostname": "rack"}, "iterations": [{"number": 0, "exit_code": 0, "stdout": printed}]}
        client.post(f"{path}/{job['job']}/report", json={"attempt": attempt, "report": report}).raise_for_status()
