"""What one server process counts for Prometheus. Names begin with `bench_`; lengths of time are seconds.

Counters and histograms are of this process; what stands in the database (the queue, the runners) is read when somebody
asks, and is the same in every process.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runner_protocol.states import JobState
from server_stub.leases import End, Requeue

# From a hand-over within milliseconds to a night in the queue.
WAIT_S = (0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 24 * 3600)
RUN_S = (1, 5, 15, 60, 180, 600, 1800, 3600, 4 * 3600, 12 * 3600, 24 * 3600)
REQUEST_S = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60, 900)


class Telemetry:
    """The figures of one process."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.polls = Gauge("bench_polls_open", "Agents that wait for work at this process.", registry=registry)
        self.claims = Counter("bench_claims", "Jobs handed to runners.", ["spec"], registry=registry)
        self.wait = Histogram(
            "bench_job_wait_seconds",
            "From a job's submission to its claim.",
            ["spec"],
            registry=registry,
            buckets=WAIT_S,
        )
        self.run = Histogram(
            "bench_job_run_seconds", "From a job's first heartbeat to its report.", registry=registry, buckets=RUN_S
        )
        self.attempts = Counter(
            "bench_attempts_ended",
            "Attempts by what became of the job, and why.",
            ["state", "fault"],
            registry=registry,
        )
        self.expired = Counter("bench_leases_expired", "Leases that ran out, by ending.", ["ending"], registry=registry)
        self.clones = Counter("bench_clones_refused", "Calls with a key that is in use elsewhere.", registry=registry)
        self.requests = Histogram(
            "bench_request_seconds",
            "From a request to the end of its answer. A poll for work waits on purpose.",
            ["route", "method", "status"],
            registry=registry,
            buckets=REQUEST_S,
        )
        self._queue = Gauge(
            "bench_queue_jobs", "Jobs by spec: pending or leased.", ["spec", "state"], registry=registry
        )
        self._oldest = Gauge(
            "bench_queue_oldest_seconds", "Age of the oldest waiting job.", ["spec"], registry=registry
        )
        self._runners = Gauge("bench_runners", "Runners by state.", ["state"], registry=registry)

    def ended(self, verdict: Requeue | End) -> None:
        """An attempt ended without a report."""
        state = verdict.state if isinstance(verdict, End) else JobState.PENDING
        self.attempts.labels(state, verdict.fault.kind if verdict.fault else "none").inc()

    def page(self, depths: Sequence[Mapping[str, Any]], states: Mapping[str, int], now_ms: int) -> bytes:
        """The text that Prometheus reads, with the queue and the runners as they are now."""
        for gauge in (self._queue, self._oldest, self._runners):
            gauge.clear()
        for row in depths:
            self._queue.labels(row["spec"], "pending").set(row["pending"])
            self._queue.labels(row["spec"], "leased").set(row["leased"])
            self._oldest.labels(row["spec"]).set((now_ms - row["oldest_ms"]) / 1000 if row["oldest_ms"] else 0)
        for state, count in states.items():
            self._runners.labels(state).set(count)
        return generate_latest(self.registry)


class Timed:
    """An ASGI layer that measures every request under the path of its route, never under what a client made up.

    One that waits in a seat comes twice: it is measured from its first coming, when it is answered.
    """

    def __init__(self, app: ASGIApp, telemetry: Telemetry) -> None:
        self._app = app
        self._seconds = telemetry.requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began_s, status = scope["state"].setdefault("began_s", time.perf_counter()), 0

        async def watched(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            if status:
                route = getattr(scope.get("route"), "path", "unknown")
                self._seconds.labels(route, scope["method"], status).observe(time.perf_counter() - began_s)
