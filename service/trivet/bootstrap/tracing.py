"""Traces by OpenTelemetry: from `authority.metrics.traces` to a collector. The packages are an extra."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from trivet import __version__
from trivet.authority.metrics import traces
from trivet.bootstrap.errors import StartError

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

    from trivet.authority.metrics.traces import Trace
    from trivet.settings import ServerSettings

switch_off: Final = traces.switch_off


def check(settings: ServerSettings) -> None:
    """See whether traces can be made where they are wanted.

    Raises:
        StartError: the packages are not installed.
    """
    if settings.trace_endpoint is None:
        return
    try:
        import opentelemetry.exporter.otlp.proto.http.trace_exporter  # noqa: PLC0415  an extra
        import opentelemetry.sdk.trace  # noqa: F401, PLC0415
    except ModuleNotFoundError as error:
        message = (
            f"trace_endpoint is set, but the package {error.name} is not installed:"
            " pip install 'trivet[server,otel]', or leave trace_endpoint out"
        )
        raise StartError(message) from error


def switch_on(settings: ServerSettings) -> Callable[[], None]:
    """Send traces from this process, if they are wanted; give what sends the last ones and ends that."""
    if settings.trace_endpoint is None:
        return switch_off
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    exporter = OTLPSpanExporter(endpoint=settings.trace_endpoint)
    made = provider(BatchSpanProcessor(exporter), settings.trace_share)
    traces.switch_on(teller(made), time.time_ns)

    def end() -> None:
        switch_off()
        made.shutdown()

    return end


def provider(processor: SpanProcessor, share: float) -> TracerProvider:
    """Make what spans come from.

    Args:
        processor: where they go.
        share: of how many traces they are kept. Also of those whose parent is kept: a client must not decide that.
    """
    from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.sampling import TraceIdRatioBased  # noqa: PLC0415

    resource = Resource.create({SERVICE_NAME: "trivet", SERVICE_VERSION: __version__})
    made = TracerProvider(sampler=TraceIdRatioBased(share), resource=resource, shutdown_on_exit=False)
    made.add_span_processor(processor)
    return made


def teller(made: TracerProvider) -> Callable[[Trace], None]:
    """Give the function that makes spans of a trace: one for it, and one in it for each phase."""
    from opentelemetry.context import Context  # noqa: PLC0415
    from opentelemetry.trace import SpanKind, StatusCode, set_span_in_context  # noqa: PLC0415
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    tracer, propagator = made.get_tracer("trivet", __version__), TraceContextTextMapPropagator()

    def tell(trace: Trace) -> None:
        outside = Context()
        if trace.parent is not None:
            outside = propagator.extract({"traceparent": trace.parent}, outside)
        span = tracer.start_span(
            trace.name, outside, SpanKind.SERVER, trace.attributes, start_time=trace.began
        )
        if span.is_recording():
            inside = set_span_in_context(span, outside)
            for phase in trace.phases:
                tracer.start_span(phase.name, inside, start_time=phase.began).end(phase.ended)
            if trace.fault is not None:
                span.set_status(StatusCode.ERROR, trace.fault)
        span.end(trace.ended)

    return tell
