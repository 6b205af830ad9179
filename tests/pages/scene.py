"""Fills a running server with something to see, all of it through the API: history, an alert, jobs in every state."""

import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
from processes import Server

from runner_agent.tuning import SETTINGS
from runner_protocol.messages import AgentIdentity, ClaimRequest, Heartbeat, HostState, Progress, ReportEnvelope
from runner_protocol.results import (
    CapturedText,
    Comparison,
    Fault,
    FaultClass,
    HostRecord,
    IsolationLevel,
    IsolationRecord,
    IterationRecord,
    Outcome,
    Reason,
    RunReport,
    SettingRecord,
    Stage,
    Summary,
    Trust,
    Variant,
    Verdict,
    Word,
)
from server_stub.store import accounts
from server_stub.store.database import Database
from server_stub.store.tx import Tx

PATIENT = {"SERVER_STUB_LEASE_S": "3600", "SERVER_STUB_CONFIRM_S": "3600", "SERVER_STUB_LOST_S": "3600"}
"""Nobody here renews a lease while a page is looked at."""
HOSTILE = "<script>window.broken = 1</script>\u202e\u2067gnp.exe\u2069 🦀 "
LONG = "very::long::" + "x" * 1000
THRESHOLDS = {"models": {"latency": {"test": "percentage", "max_sample_size": 64, "upper_boundary": 0.1}}}


@dataclass
class Hand:
    """An agent that does as it is told, over HTTP: claims, beats, reports."""

    server: Server
    runner: str
    key: str
    floor: float = 0.004
    job: str = field(default="", init=False)

    def claim(self, **said: Any) -> None:
        """Take the next job."""
        agent = AgentIdentity(version="1", instance=uuid4(), machine_id=self.runner)
        host = HostRecord(hostname=self.runner, noise_floor=self.floor)
        state = HostState(host=host, isolation=IsolationLevel.PARTITION_ROOT, **said)
        answer = self._post("jobs", ClaimRequest(poll_timeout=1, agent=agent, state=state).model_dump_json())
        self.job = answer.json()["job"] if answer.status_code == 200 else ""

    def beat(self, progress: Progress) -> None:
        """Say how far it is."""
        body = Heartbeat(attempt=1, progress=progress).model_dump_json()
        assert self._post(f"jobs/{self.job}/heartbeat", body).is_success

    def report(self, **members: Any) -> None:
        """End it."""
        report = RunReport.model_validate({"job": self.job, "attempt": 1, "outcome": Outcome.COMPLETED, **members})
        answer = self._post(f"jobs/{self.job}/report", ReportEnvelope(attempt=1, report=report).model_dump_json())
        assert answer.is_success, answer.text

    def _post(self, path: str, body: str) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.key}", "content-type": "application/json"}
        url = f"{self.server.url}/v0/runners/{self.runner}/{path}"
        return httpx.post(url, content=body, headers=headers, timeout=60)


@dataclass(frozen=True)
class Operator:
    """An administrator, who uses the API: the command line would start a process for each word."""

    server: Server
    token: str

    @classmethod
    def of(cls, server: Server) -> "Operator":
        """A new one."""

        def work(tx: Tx) -> str:
            return accounts.create_token(tx, accounts.create_user(tx, "Ann", "ann@example.com", admin=True), "test")[1]

        database = Database.open(server.database, migrated=False)
        try:
            return cls(server, database.wait(work))
        finally:
            database.close()

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """One call of the API."""
        headers = {"authorization": f"Bearer {self.token}"}
        answer = httpx.request(method, f"{self.server.url}/v0/{path}", json=body, headers=headers, timeout=60)
        assert answer.is_success, answer.text
        return answer.json()

    def spec(self, name: str) -> None:
        """A new class of machine."""
        size = {"cpu": 8, "memory": 1 << 32, "disk": 1 << 30}
        self.ask("POST", "specs", {"name": name, "architecture": "x86_64", **size})

    def hand(self, name: str, spec: str, floor: float = 0.004) -> Hand:
        """A new runner."""
        made = self.ask("POST", "runners", {"name": name})
        self.ask("POST", f"runners/{name}/specs", {"spec": spec})
        return Hand(self.server, name, made["key"], floor)


def run(server: Server, project: str, results: dict[str, float] | None = None, **members: Any) -> dict[str, Any]:
    """One run in; its report."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    body = {
        "project": project,
        "context": {"bencher.dev/v0/repo/name": project.capitalize()},
        "branch": "main",
        "testbed": "rack-7",
        "start_time": now,
        "end_time": now,
        "results": [] if results is None else [bmf(results)],
        **members,
    }
    answer = httpx.post(f"{server.url}/v0/run", json=body, timeout=60)
    assert answer.status_code == 201, answer.text
    report: dict[str, Any] = answer.json()
    return report


def bmf(results: dict[str, float]) -> str:
    """What a harness prints."""
    return json.dumps({name: {"latency": {"value": value}} for name, value in results.items()})


def history(server: Server, project: str, versions: int, benchmarks: dict[str, float]) -> dict[str, Any]:
    """Versions that differ a little, and a last one where the first benchmark got slower; its report."""
    began = datetime.now(UTC) - timedelta(days=versions)
    report: dict[str, Any] = {}
    for number in range(versions):
        last = number == versions - 1
        at = (began + timedelta(days=number)).strftime("%Y-%m-%dT%H:%M:%SZ")
        values = {
            name: base * (1 + 0.012 * ((number * 7 + place * 3) % 5 - 2) + (0.23 if last and place == 0 else 0))
            for place, (name, base) in enumerate(benchmarks.items())
        }
        commit = f"{number:04x}" * 10
        report = run(server, project, values, hash=commit, start_time=at, end_time=at, thresholds=THRESHOLDS)
    return report


def job(**members: Any) -> dict[str, Any]:
    """The job of a run."""
    return {"image": "registry.example/bench:v1", "cmd": ["./bench", "--all"], "iter": 20, "timeout": 120, **members}


def verdict(number: int) -> Verdict:
    """Every sixth one is disturbed, every ninth unknown."""
    if number % 6 == 4:
        why = Reason(code="foreign_cpu", message="another process ran on the benchmark's CPUs", culprit="apt-get")
        return Verdict(word=Word.DISTURBED, reasons=[why])
    return Verdict(word=Word.UNKNOWN if number % 9 == 8 else Word.QUIET)


def iterations(count: int, *, paired: bool = False) -> list[IterationRecord]:
    """So many runs, some of them disturbed; in pairs, every second one is the baseline's."""
    records = []
    for number in range(count):
        baseline = paired and number % 2 == 1
        seen = verdict(number)
        base = 1.842e6 * (0.965 if baseline else 1.0) * (1 + 0.0021 * ((number * 13) % 7 - 3))
        wall = base * (1.06 + 0.004 * (number % 5)) if seen.word is Word.DISTURBED else base
        records.append(
            IterationRecord(
                number=number,
                variant=Variant.BASELINE if baseline else Variant.CANDIDATE,
                exit_code=0,
                wall_ns=round(wall),
                cpu_ns=round(wall * 0.98),
                memory_peak_bytes=48 << 20,
                stdout=CapturedText(text=bmf({"parse::json": wall, "parse::toml": wall / 2.4})),
                verdict=seen,
            )
        )
    return records


def settings() -> list[SettingRecord]:
    """All that an agent can turn: one is refused, one took in part, and some are not on the host."""
    said: dict[str, dict[str, Any]] = {
        "governor": {"wanted": "performance", "before": "powersave | schedutil", "achieved": "performance"},
        "smt": {"wanted": "off", "before": "on", "achieved": "on", "applied": False, "note": "not permitted here"},
        "irqs": {"wanted": "0-7", "before": "0-15 | 3 | 7", "achieved": "0-7 | 15", "note": "1 of 84 stayed: EIO"},
    }
    absent = {"before": None, "achieved": None, "applied": False, "note": "this host has none"}
    said |= dict.fromkeys(("boost_intel", "boost_policy", "timer_dnf_makecache", "timer_e2scrub_all"), absent)
    turned = {"wanted": "0", "before": "1", "achieved": "0", "applied": True}
    return [
        SettingRecord.model_validate({"name": row.name, "path": row.target, **turned, **said.get(row.name, {})})
        for row in SETTINGS
    ]


def result(count: int, *, paired: bool = False) -> dict[str, Any]:
    """The report of an agent whose job went well."""
    compared = Comparison(pairs=count // 2, ratio=1.036, ratio_lower=1.029, ratio_upper=1.044, p_value=0.0004)
    return {
        "digest": "sha256:" + "3f9a" * 16,
        "iterations": iterations(count, paired=paired),
        "host": HostRecord(
            hostname="rack-7",
            kernel="6.1.0-18-amd64",
            cpu_model="AMD EPYC 7313P 16-Core Processor",
            cpus=16,
            memory_bytes=128 << 30,
            noise_floor=0.0041,
            minimum_detectable_effect=0.006,
        ),
        "isolation": IsolationRecord(
            level=IsolationLevel.PARTITION_ROOT,
            benchmark_cpus="8-15",
            settings=settings(),
        ),
        "trust": Trust(
            word=Word.DISTURBED,
            reasons=[Reason(code="foreign_cpu", message="3 of 20 iterations were disturbed", culprit="apt-get")],
            summary=Summary(
                counted=count,
                disturbed=3,
                unknown=2,
                median_all_ns=1.846e6,
                median_kept_ns=1.841e6,
                variation_all=0.021,
                variation_kept=0.0043,
            ),
            comparison=compared if paired else None,
        ),
        "stage_s": {Stage.PULL: 0.006, Stage.ISOLATE: 0.003, Stage.ITERATE: 0.041, Stage.COLLECT: 0.001},
    }


@dataclass
class Scene:
    """A fleet at work: where to find each thing."""

    alerted: dict[str, Any]
    finished: dict[str, Any]
    running: dict[str, Any]
    failed: dict[str, Any]
    hostile: dict[str, Any]
    busy: Hand
    progress: Progress
    operator: Operator


def set_up(operator: Operator) -> Scene:
    """Everything that the pages show, once."""
    server = operator.server
    operator.spec("rack")
    hostile = run(server, "hostile", {HOSTILE: 1.0, LONG: 2.0}, branch="<b>x</b>\u202e🦀", testbed="🦀 <b>bed</b>")
    alerted = history(server, "parsers", 24, {"parse::json": 1.84e6, "parse::toml": 0.76e6, "emit::json": 2.9e6})
    worker = operator.hand("rack-7", "rack", 0.0041)
    finished = _finish(server, worker, job(spec="rack", iter=20), result(20, paired=True))
    for _ in range(3):
        _finish(server, worker, job(spec="rack"), result(8))
    failed = _finish(
        server,
        worker,
        job(spec="rack"),
        {
            "outcome": Outcome.FAILED,
            "fault": Fault(kind=FaultClass.EXIT_CODE, stage=Stage.ITERATE, message="the command ended with 3"),
            "iterations": [IterationRecord(number=0, exit_code=3, stderr=CapturedText(text="panic: " + HOSTILE))],
        },
    )
    for floor in (0.0044, 0.0039, 0.0042, 0.0051, 0.0043, 0.0041):
        worker.floor = floor
        worker.claim()
    running = run(server, "parsers", hash="f" * 40, job=job(spec="rack"))
    worker.claim()
    progress = Progress(stage=Stage.ITERATE, iteration=7, iterations=20, tail="sample 7: 1.842 s\n" + HOSTILE)
    worker.beat(progress)
    for name, said in (("rack-8", {}), ("rack-9", {"blocked": ["disk: 2 GiB free of 400"]}), ("rack-10", {})):
        operator.hand(name, "small").claim(**said)
    operator.ask("POST", "runners/rack-10/drain?reason=new+memory+on+Thursday")
    operator.hand("rack-11", "small")
    for _ in range(3):
        run(server, "parsers", hash="e" * 40, job=job(spec="rack"))
    return Scene(alerted, finished, running, failed, hostile, worker, progress, operator)


def _finish(server: Server, worker: Hand, work: dict[str, Any], report: dict[str, Any]) -> dict[str, Any]:
    submitted = run(server, "parsers", hash="d" * 40, job=work)
    worker.claim()
    assert worker.job == submitted["job"]
    worker.beat(Progress(stage=Stage.ITERATE))
    time.sleep(sum(report.get("stage_s", {}).values()))  # As long as it will say that it took.
    worker.report(**report)
    path = f"{server.url}/v0/projects/parsers/jobs/{submitted['job']}"
    while httpx.get(path, timeout=60).json()["status"] == "completed":
        time.sleep(0.05)
    return submitted
