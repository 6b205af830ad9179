"""`submit`: sends a job through the API as any client would, follows it, and prints its report.

Uses nothing of the server but its API, so that what it shows is what every client can see.
"""

import os
import re
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Self

import typer

from server_stub.commands.context import LOCAL, Exit, JsonOption, fail, server_url

TOKEN_VARIABLE = "SERVER_STUB_TOKEN"  # noqa: S105  The variable's name, not a token.
POLL_S = 1.0
TRIES = 60
"""How often a server that is away is asked again: nine minutes long."""
ENDED = {"processed": 0, "failed": Exit.JOB_FAILED, "canceled": Exit.JOB_CANCELED}


def submit(  # noqa: PLR0917  Every option of the verb is a parameter; typer passes them by name.
    image: Annotated[str, typer.Option(help="What to run: any OCI reference.")],
    command: Annotated[list[str] | None, typer.Argument(help="Replaces the image's command.")] = None,
    baseline: Annotated[str | None, typer.Option(help="A second image: iterations alternate between the two.")] = None,
    iterations: Annotated[int, typer.Option("--iterations", "-n", min=0, help="How many times to run.")] = 1,
    project: Annotated[str | None, typer.Option(help="Slug or UUID; made where it is new.")] = None,
    branch: Annotated[str | None, typer.Option(help="Default: the checked-out one, else main.")] = None,
    commit: Annotated[str | None, typer.Option("--hash", help="40 hex digits. Default: the checked-out one.")] = None,
    testbed: Annotated[str | None, typer.Option(help="Default: named after the spec.")] = None,
    spec: Annotated[
        str | None, typer.Option(help="Class of machine. Default: the testbed's, else the fallback.")
    ] = None,
    adapter: Annotated[str | None, typer.Option(help="How the output is read, such as json. Default: magic.")] = None,
    fold: Annotated[str | None, typer.Option(help="min, max, mean or median over the iterations.")] = None,
    entrypoint: Annotated[str | None, typer.Option(help="Replaces the image's entrypoint.")] = None,
    env: Annotated[list[str] | None, typer.Option("--env", "-e", help="NAME=VALUE, as often as needed.")] = None,
    file: Annotated[list[str] | None, typer.Option("--file", help="A file to read results from.")] = None,
    timeout: Annotated[int | None, typer.Option(min=1, help="Seconds for each iteration.")] = None,
    build_time: Annotated[bool, typer.Option("--build-time", help="Measure the command's wall time too.")] = False,
    allow_failure: Annotated[bool, typer.Option("--allow-failure", help="Go on after a failed iteration.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Follow the job and print its report.")] = False,
    server: Annotated[str, typer.Option(callback=server_url, help="URL of the API server.")] = LOCAL,
    token_file: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help=f"File with an API token or key. Default: ${TOKEN_VARIABLE}."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run an image on a runner. With --wait: 0 when it was processed, 5 when it failed, 6 when it was canceled."""
    job = {
        "image": image,
        "baseline": baseline,
        "spec": spec,
        "entrypoint": [entrypoint] if entrypoint else None,
        "cmd": command or None,
        "env": dict(_pair(text) for text in env or []) or None,
        "timeout": timeout,
        "file_paths": file or None,
        "build_time": build_time,
        "iter": iterations,
        "allow_failure": allow_failure,
    }
    run: dict[str, Any] = {
        "project": project,
        "context": _context(project),
        "branch": branch or _git("rev-parse", "--abbrev-ref", "HEAD"),
        "hash": commit or _git("rev-parse", "HEAD"),
        "testbed": testbed,
        **_times(),
        "results": [],
        "settings": {"adapter": adapter, "fold": fold},
        "job": {name: value for name, value in job.items() if value is not None},
    }
    with Api(server, _token(token_file)) as api:
        report = api.post("/v0/run", {name: value for name, value in run.items() if value is not None})
        if not wait:
            _show_queued(report, server, as_json=as_json)
            return
        ended = follow(api, report, quiet=as_json)
        final = api.get(f"/v0/projects/{report['project']['slug']}/reports/{report['uuid']}")
    _show(final, ended, server, as_json=as_json)
    raise typer.Exit(ENDED[ended["status"]])


def _context(project: str | None) -> dict[str, str]:
    """What a project that is made on the way is called."""
    return {"bencher.dev/v0/repo/name": project} if project else {}


def _times() -> dict[str, str]:
    """A job has no times of its own until it has run."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {"start_time": now, "end_time": now}


class Api:
    """The server, as a client sees it. A refusal ends the program with its message."""

    def __init__(self, server: str, token: str | None) -> None:
        import httpx

        headers = {"authorization": f"Bearer {token}"} if token else {}
        self._unreachable = httpx.TransportError
        self._client = httpx.Client(base_url=server, headers=headers, timeout=60)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(self, path: str) -> Any:
        """Read; asked again while the server is away: what it runs goes on without it."""
        for tried in range(TRIES):
            try:
                answer = self._client.get(path)
            except self._unreachable as error:
                last = f"{self._client.base_url} cannot be reached: {error}"
            else:
                if answer.status_code < 500:
                    return self._content(answer)
                last = _message(answer)
            time.sleep(min(POLL_S * (tried + 1), 10))
        return fail(last, Exit.UNAVAILABLE)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """Send, once."""
        try:
            return self._content(self._client.post(path, json=body))
        except self._unreachable as error:
            return fail(f"{self._client.base_url} cannot be reached: {error}", Exit.UNAVAILABLE)

    def _content(self, answer: Any) -> Any:
        if answer.is_success:
            try:
                return answer.json()
            except ValueError:
                return fail(f"{answer.url} answers something else than our API", Exit.UNAVAILABLE)
        codes = {404: Exit.NOT_FOUND, 409: Exit.CONFLICT}
        return fail(
            _message(answer),
            Exit.UNAVAILABLE if answer.is_server_error else codes.get(answer.status_code, Exit.REFUSED),
        )


def _message(answer: Any) -> str:
    """What a refusal says. A proxy's is HTML, of which the status tells enough."""
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        return f"{answer.url} answers {answer.status_code} {answer.reason_phrase}"


def follow(api: Api, report: dict[str, Any], *, quiet: bool) -> dict[str, Any]:
    """Poll the job until it has ended, showing how far it is; return its last state."""
    path = f"/v0/projects/{report['project']['slug']}/jobs/{report['job']}"
    with _display(quiet=quiet) as show:
        while True:
            job: dict[str, Any] = api.get(path)
            show(job)
            if job["status"] in ENDED:
                return job
            time.sleep(POLL_S)


def sentence(job: dict[str, Any]) -> str:
    """One line that says where a job stands."""
    progress, waiting = job.get("progress") or {}, job.get("waiting") or {}
    parts = [job["status"]]
    if job["status"] == "pending" and waiting:
        parts.append(waiting["message"])
    if job["status"] == "running" and progress:
        parts.append(progress["stage"])
        if progress.get("iterations"):
            parts.append(
                f"iteration {min(progress['iteration'] + 1, progress['iterations'])} of {progress['iterations']}"
            )
        if progress.get("fraction") is not None:
            parts.append(f"{progress['fraction']:.0%}")
    if job["attempt"] > 1:
        parts.append(f"attempt {job['attempt']}")
    return " · ".join(parts)


class _display:  # noqa: N801  Reads as a verb: `with _display() as show`.
    """A live line on a terminal, one line a change elsewhere, nothing where JSON is wanted."""

    def __init__(self, *, quiet: bool) -> None:
        from rich.console import Console

        self._quiet = quiet
        self._console = Console(stderr=True)
        self._status = self._console.status("submitted") if self._console.is_terminal and not quiet else None
        self._last = ""

    def __enter__(self) -> Callable[[dict[str, Any]], None]:
        if self._status:
            self._status.start()
        return self._show

    def __exit__(self, *_: object) -> None:
        if self._status:
            self._status.stop()

    def _show(self, job: dict[str, Any]) -> None:
        from rich.markup import escape

        line = sentence(job)
        if self._status:
            tail = (job.get("progress") or {}).get("tail", "").strip().splitlines()[-1:]
            self._status.update(escape(line + (f"\n  {tail[0][:120]}" if tail else "")))
        elif line != self._last and not self._quiet:
            self._console.print(line, markup=False, highlight=False)
        self._last = line


def _show_queued(report: dict[str, Any], server: str, *, as_json: bool) -> None:
    from server_stub.commands.printing import show_one

    if as_json:
        show_one(report, as_json=True)
        return
    project = report["project"]["slug"]
    print(f"queued as job {report['job']} of project {project}")
    print(f"{server}/v0/projects/{project}/jobs/{report['job']}")


def _show(report: dict[str, Any], job: dict[str, Any], server: str, *, as_json: bool) -> None:
    from server_stub.commands.printing import show_one

    if as_json:
        show_one({"report": report, "job": job}, as_json=True)
    else:
        from server_stub.commands.report_table import show_report

        show_report(report, job, server)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        fail(f"--env: {text!r} is not NAME=VALUE", Exit.REFUSED)
    return name, value


def _token(file: Path | None) -> str | None:
    try:
        token = (file.read_text(encoding="ascii") if file else os.environ.get(TOKEN_VARIABLE, "")).strip()
    except (OSError, UnicodeDecodeError) as error:
        return fail(f"--token-file: {file} cannot be read: {error}", Exit.REFUSED)
    if not re.fullmatch(r"[!-~]*", token):
        return fail(f"{file or TOKEN_VARIABLE} holds something else than one token", Exit.REFUSED)
    return token or None


def _git(*arguments: str) -> str | None:
    """What git says of the working directory; nothing where it is no checkout."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=10, check=True)  # noqa: S603, S607  Fixed arguments, the user's own git.
    except (OSError, subprocess.SubprocessError):
        return None
    said = done.stdout.strip()
    return None if not said or re.fullmatch("HEAD", said) else said
