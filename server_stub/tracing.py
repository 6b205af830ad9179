"""Traces of jobs for an OpenTelemetry collector: off unless a URL is set, and then through OpenTelemetry's own library.

A trace's id is the job's UUID, so that either leads to the other and any process can add to it. All spans hang below
one that nobody sends: a job has no moment at which one process could measure it whole.
"""

from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

from server_stub.errors import BadRequestError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

SERVICE = "server-stub"


def traceparent(job: UUID) -> str:
    """A job's place in its trace, as https://www.w3.org/TR/trace-context/ spells it."""
    return f"00-{job.hex}-{job.hex[16:]}-01"


class Traces:
    """The server's part of the traces. Without a provider every call does nothing."""

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
            raise BadRequestError("traces_url: needs the libraries of OpenTelemetry: pip install '.[otel]'") from error
        return cls.through(OTLPSpanExporter(endpoint=url))

    @classmethod
    def through(cls, exporter: "SpanExporter") -> Self:
        """Send in batches, from a thread of the library."""
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        provider = TracerProvider(resource=Resource({"service.name": SERVICE}), shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(exporter))
        return cls(provider)

    def traceparent(self, job: UUID) -> str | None:
        """What an agent is told; None where nobody traces."""
        return None if self._provider is None else traceparent(job)

    def span(self, name: str, job: UUID, begin_s: float, end_s: float, **attributes: Any) -> None:
        """Something that happened to a job, between two moments in seconds since 1970."""
        if self._provider is None:
            return
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        above = TraceContextTextMapPropagator().extract({"traceparent": traceparent(job)})
        known = {f"job.{key}": value for key, value in attributes.items()} | {"job.uuid": str(job)}
        span = self._provider.get_tracer(SERVICE).start_span(name, above, attributes=known, start_time=_ns(begin_s))
        span.end(_ns(end_s))

    def close(self) -> None:
        """Send what is left."""
        if self._provider is not None:
            self._provider.shutdown()


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
