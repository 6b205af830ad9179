"""The built-in measures: what a measure that results name for the first time is called and counted in.

A table and its look-up. Measures that a project already has are found by the store, before this is asked. Some measures
of .NET and DHAT tools (`allocated`, `gen0-collects`, `total-units`, …) are known to the reference server, yet never
matched when they first appear; they get generic units there and so they do here, by not being in the table.
"""

from dataclasses import dataclass
from typing import Final

from server_stub.names import IdKind, NameId, slugify

GENERIC_UNITS: Final = "Measure (units)"


@dataclass(frozen=True, slots=True)
class NewMeasure:
    """A measure to create. `slug` is None where one has to be made from the name."""

    name: str
    slug: str | None
    units: str


# name → units; the slug is made from the name, but for those below.
_UNITS: Final = {
    "Latency": "nanoseconds (ns)",
    "Throughput": "operations / second (ops/s)",
    "Build Time": "seconds (s)",
    "File Size": "bytes (B)",
    **dict.fromkeys(("Compute Jitter", "Cache Jitter", "I/O Jitter", "CPU Steal"), "percentage (%)"),
    "Noise Score": "decibels (dB)",
    "Instructions": "instructions",
    **dict.fromkeys(("L1 Accesses", "L2 Accesses", "RAM Accesses"), "accesses"),
    "Estimated Cycles": "cycles",
    **dict.fromkeys(("L1 Hits", "L2 Hits", "LL Hits", "RAM Hits"), "hits"),
    "Total read+write": "reads/writes",
    "Ge": "events",
    "Dr": "reads",
    "Dw": "writes",
    **dict.fromkeys(("I1mr", "D1mr", "ILmr", "DLmr", "ILdmr", "DLdmr"), "misses (reads)"),
    **dict.fromkeys(("D1mw", "DLmw", "DLdmw"), "misses (writes)"),
    **dict.fromkeys(("I1 Miss Rate", "LLi Miss Rate", "D1 Miss Rate", "LLd Miss Rate", "LL Miss Rate"), "misses (%)"),
    **dict.fromkeys(("L1 Hit Rate", "LL Hit Rate", "RAM Hit Rate"), "hits (%)"),
    "SysCount": "syscalls",
    "SysTime": "msec/usec/nsec",
    "SysCpuTime": "nsec",
    **dict.fromkeys(("Bc", "Bcm", "Bi", "Bim"), "branches"),
    **dict.fromkeys(("AcCost1", "AcCost2"), "temporal locality count"),
    **dict.fromkeys(("SpLoss1", "SpLoss2"), "spatial loss count"),
    **dict.fromkeys(
        ("Total bytes", "At t-gmax bytes", "At t-end bytes", "Reads bytes", "Writes bytes"),
        "bytes (B)",
    ),
    **dict.fromkeys(("Total blocks", "At t-gmax blocks", "At t-end blocks"), "blocks"),
    **{
        f"{tool} {what}": what.lower()
        for tool in ("Memcheck", "Helgrind", "DRD")
        for what in ("Errors", "Contexts", "Suppressed Errors", "Suppressed Contexts")
    },
}

_SLUGS: Final = {
    "I/O Jitter": "io-jitter",
    "Ge": "global-bus-events",
    "Total read+write": "total-read-write",
    "SysCount": "sys-count",
    "SysTime": "sys-time",
    "SysCpuTime": "sys-cpu-time",
}

BUILT_IN: Final = tuple(NewMeasure(name, _SLUGS.get(name) or slugify(name), units) for name, units in _UNITS.items())
"""Every measure that is matched when it first appears, in the order in which they are tried."""

_BY_SLUG: Final = {measure.slug: measure for measure in BUILT_IN}
_BY_NAME: Final = {
    # Three tools share their short names; the first of them wins.
    **{measure.name.removeprefix("Memcheck "): measure for measure in BUILT_IN if measure.name.startswith("Memcheck ")},
    **{measure.name: measure for measure in BUILT_IN},
}


def built_in(wanted: NameId) -> NewMeasure | None:
    """Return the built-in measure of that slug or name."""
    match wanted.kind:
        case IdKind.SLUG:
            return _BY_SLUG.get(wanted.value)
        case IdKind.NAME:
            return _BY_NAME.get(wanted.value)
        case IdKind.UUID:
            return None


def new_measure(wanted: NameId) -> NewMeasure:
    """Return what to create for a slug or name that the project does not have. A UUID names nothing: `ValueError`."""
    if wanted.kind is IdKind.UUID:
        raise ValueError("a measure cannot be made from a UUID")
    slug = wanted.value if wanted.kind is IdKind.SLUG else None
    return built_in(wanted) or NewMeasure(wanted.value, slug, GENERIC_UNITS)
