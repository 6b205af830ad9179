"""What a measure is called and counted in when it first appears."""

import pytest

from server_stub.measures import BUILT_IN, NewMeasure, new_measure
from server_stub.names import parse_resource_name, parse_resource_name_id, parse_slug


@pytest.mark.parametrize(
    ("key", "measure"),
    [
        ("latency", NewMeasure("Latency", "latency", "nanoseconds (ns)")),
        ("Latency", NewMeasure("Latency", "latency", "nanoseconds (ns)")),
        ("Build Time", NewMeasure("Build Time", "build-time", "seconds (s)")),
        ("file-size", NewMeasure("File Size", "file-size", "bytes (B)")),
        ("throughput", NewMeasure("Throughput", "throughput", "operations / second (ops/s)")),
        ("I/O Jitter", NewMeasure("I/O Jitter", "io-jitter", "percentage (%)")),
        ("global-bus-events", NewMeasure("Ge", "global-bus-events", "events")),
        ("total-read-write", NewMeasure("Total read+write", "total-read-write", "reads/writes")),
        ("sys-cpu-time", NewMeasure("SysCpuTime", "sys-cpu-time", "nsec")),
        ("ildmr", NewMeasure("ILdmr", "ildmr", "misses (reads)")),
        ("lli-miss-rate", NewMeasure("LLi Miss Rate", "lli-miss-rate", "misses (%)")),
        ("accost1", NewMeasure("AcCost1", "accost1", "temporal locality count")),
        ("At t-gmax bytes", NewMeasure("At t-gmax bytes", "at-t-gmax-bytes", "bytes (B)")),
        ("drd-suppressed-errors", NewMeasure("DRD Suppressed Errors", "drd-suppressed-errors", "suppressed errors")),
        ("Errors", NewMeasure("Memcheck Errors", "memcheck-errors", "errors")),
        (
            "Suppressed Contexts",
            NewMeasure("Memcheck Suppressed Contexts", "memcheck-suppressed-contexts", "suppressed contexts"),
        ),
        ("my-measure", NewMeasure("my-measure", "my-measure", "Measure (units)")),
        ("My Measure", NewMeasure("My Measure", None, "Measure (units)")),
        *((key, NewMeasure(key, key, "Measure (units)")) for key in ("allocated", "gen0-collects", "maximum-bytes")),
        *((key, NewMeasure(key, key, "Measure (units)")) for key in ("errors", "total-operations", "total-units")),
    ],
)
def test_a_first_seen_measure_gets_its_name_slug_and_units(key: str, measure: NewMeasure) -> None:
    assert new_measure(parse_resource_name_id(key)) == measure


def test_every_built_in_is_valid_and_found_by_slug_and_by_name() -> None:
    for measure in BUILT_IN:
        assert parse_resource_name(measure.units) == measure.units
        assert parse_slug(measure.slug) == measure.slug
        for key in (measure.slug, measure.name):
            assert new_measure(parse_resource_name_id(key)) == measure
    assert len({measure.slug for measure in BUILT_IN}) == len(BUILT_IN)


def test_a_uuid_names_no_new_measure() -> None:
    with pytest.raises(ValueError, match="cannot be made from a UUID"):
        new_measure(parse_resource_name_id("67e55044-10b1-426f-9247-bb680e5fe0c8"))
