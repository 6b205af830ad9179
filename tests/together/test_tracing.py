"""One job's trace, made by server and agent together, as a collector sees it."""

from pathlib import Path
from uuid import UUID

import pytest
from agents import make_daemon
from fakes import FakeEngine, record_of
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pairs import paired
from queue_world import asking

from runner_agent.tracing import Traces as AgentTraces
from server_stub.store.database import Database
from server_stub.tracing import Traces

pytestmark = pytest.mark.anyio


async def test_a_jobs_trace_has_the_spans_of_both_sides(database: Database, tmp_path: Path) -> None:
    ours, theirs = InMemorySpanExporter(), InMemorySpanExporter()
    server_traces, agent_traces = Traces.through(ours), AgentTraces.through(theirs)
    async with paired(database, traces=server_traces, heartbeat_s=0.1, lease_s=30, sweep_s=0.1) as pair:
        report = await pair.submit()
        async with pair.client() as client:
            await make_daemon(
                client,
                FakeEngine(script=lambda order: record_of(order, stdout="{}")),
                tmp_path,
                jobs_max=1,
                traces=agent_traces,
            ).run()
        job = await pair.ended(report)
    server_traces.close()
    assert job["status"] == "processed"
    spans = [*ours.get_finished_spans(), *theirs.get_finished_spans()]
    assert {span.context.trace_id for span in spans} == {UUID(report["job"]).int}
    below = {span.name: span.parent.span_id for span in spans if span.parent}
    root, attempt = below["queued"], next(span.context.span_id for span in spans if span.name == "attempt")
    assert (below["attempt"], below["processed"]) == (root, root)
    assert below["iterate"] == below["pull"] == attempt


async def test_without_a_collector_no_trace_is_begun(database: Database) -> None:
    async with paired(database, heartbeat_s=1, lease_s=30, sweep_s=0.1) as pair, pair.client() as client:
        await pair.submit()
        job = await client.claim(asking())
    assert job is not None
    assert job.traceparent is None
