"""The agent's part of a job's trace: off unless a URL is set, and then through OpenTelemetry's own library.

Spans are made from the finished report and sent in one go after its delivery: while a job runs nothing is recorded and
nothing is sent. A collector that does not answer costs a few seconds then, and the spans.
"""

import time
from typing import TYPE_CHECKING, Self

from runner_agent.errors import SettingFault
from runner_protocol.jobs import ClaimedJob
from runner_protocol.results import RunReport

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

SERVICE = "runner-agent"
SEND_MS_MAX = 5_000
NEVER_MS = 24 * 3600 * 1000
"""Between two batches that the library sends by itself: we say when."""


class Traces:
    """Where the spans of jobs go. Without a provider every call does nothing."""

    def __init__(self, provider: "TracerProvider | None" = None) -> None:
        self._provider = provider

    @classmethod
    def to(cls, url: str | None) -> Self:
        """Send to a collector (OTLP over HTTP, such as `http://localhost:4318/v1/traces`); None: nowhere."""
        if url is None:
            return cls()
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        except ImportError as error:
            raise SettingFault("`traces_url` needs the libraries of OpenTelemetry: pip install '.[otel]'") from error
        return cls.through(OTLPSpanExporter(endpoint=url, timeout=SEND_MS_MAX / 1000))

    @classmethod
    def through(cls, exporter: "SpanExporter") -> Self:
        """Keep spans until `send`."""
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        provider = TracerProvider(resource=Resource({"service.name": SERVICE}), shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=NEVER_MS))
        return cls(provider)

    def ended(self, job: ClaimedJob, report: RunReport) -> None:
        """One span for the attempt, and one below it for each stage, laid end to end."""
        if self._provider is None or job.traceparent is None:
            return
        from opentelemetry.trace import set_span_in_context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        tracer, now_ns = self._provider.get_tracer(SERVICE), time.time_ns()
        begin_ns = now_ns - round(sum(report.stage_s.values()) * 1e9)
        known: dict[str, str | int] = {
            "job.uuid": str(job.job),
            "job.attempt": job.attempt,
            "job.outcome": report.outcome.value,
        }
        above = TraceContextTextMapPropagator().extract({"traceparent": job.traceparent})
        attempt = tracer.start_span("attempt", above, attributes=known, start_time=begin_ns)
        for stage, seconds in report.stage_s.items():
            end_ns = begin_ns + round(seconds * 1e9)
            tracer.start_span(stage.value, set_span_in_context(attempt), start_time=begin_ns).end(end_ns)
            begin_ns = end_ns
        attempt.end(now_ns)

    def send(self) -> None:
        """Send what there is. Blocks, for a bounded time."""
        if self._provider is not None:
            self._provider.force_flush(SEND_MS_MAX)
