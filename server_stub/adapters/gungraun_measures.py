"""What Gungraun's tools count: for each tool, the label in the text report, the key in the JSON summary, our slug.

A table and nothing else. `L2 Hits` is what older versions call `LL Hits`; the two are measures of their own.
"""

from typing import Final, NamedTuple


class Measure(NamedTuple):
    """One count of one tool. `key` is empty where only the text report has it."""

    label: str
    key: str
    slug: str


_CACHE: Final = (
    Measure("Instructions", "Ir", "instructions"),
    Measure("L1 Hits", "L1hits", "l1-hits"),
    Measure("L2 Hits", "", "l2-hits"),
    Measure("LL Hits", "LLhits", "ll-hits"),
    Measure("RAM Hits", "RamHits", "ram-hits"),
    Measure("Total read+write", "TotalRW", "total-read-write"),
    Measure("Estimated Cycles", "EstimatedCycles", "estimated-cycles"),
    Measure("Dr", "Dr", "dr"),
    Measure("Dw", "Dw", "dw"),
    Measure("I1mr", "I1mr", "i1mr"),
    Measure("D1mr", "D1mr", "d1mr"),
    Measure("D1mw", "D1mw", "d1mw"),
    Measure("ILmr", "ILmr", "ilmr"),
    Measure("DLmr", "DLmr", "dlmr"),
    Measure("DLmw", "DLmw", "dlmw"),
    Measure("I1 Miss Rate", "I1MissRate", "i1-miss-rate"),
    Measure("LLi Miss Rate", "LLiMissRate", "lli-miss-rate"),
    Measure("D1 Miss Rate", "D1MissRate", "d1-miss-rate"),
    Measure("LLd Miss Rate", "LLdMissRate", "lld-miss-rate"),
    Measure("LL Miss Rate", "LLMissRate", "ll-miss-rate"),
    Measure("L1 Hit Rate", "L1HitRate", "l1-hit-rate"),
    Measure("LL Hit Rate", "LLHitRate", "ll-hit-rate"),
    Measure("RAM Hit Rate", "RamHitRate", "ram-hit-rate"),
    Measure("Bc", "Bc", "bc"),
    Measure("Bcm", "Bcm", "bcm"),
    Measure("Bi", "Bi", "bi"),
    Measure("Bim", "Bim", "bim"),
)
_CALLGRIND_ONLY: Final = (
    Measure("Ge", "Ge", "global-bus-events"),
    Measure("SysCount", "SysCount", "sys-count"),
    Measure("SysTime", "SysTime", "sys-time"),
    Measure("SysCpuTime", "SysCpuTime", "sys-cpu-time"),
    Measure("ILdmr", "ILdmr", "ildmr"),
    Measure("DLdmr", "DLdmr", "dldmr"),
    Measure("DLdmw", "DLdmw", "dldmw"),
    Measure("AcCost1", "AcCost1", "accost1"),
    Measure("AcCost2", "AcCost2", "accost2"),
    Measure("SpLoss1", "SpLoss1", "sploss1"),
    Measure("SpLoss2", "SpLoss2", "sploss2"),
)
_HEAP: Final = (
    Measure("Total bytes", "TotalBytes", "total-bytes"),
    Measure("Total blocks", "TotalBlocks", "total-blocks"),
    Measure("Total units", "TotalUnits", "total-units"),
    Measure("Total events", "TotalEvents", "total-events"),
    Measure("Total lifetimes", "TotalLifetimes", "total-lifetimes"),
    Measure("At t-gmax bytes", "AtTGmaxBytes", "at-t-gmax-bytes"),
    Measure("At t-gmax blocks", "AtTGmaxBlocks", "at-t-gmax-blocks"),
    Measure("At t-end bytes", "AtTEndBytes", "at-t-end-bytes"),
    Measure("At t-end blocks", "AtTEndBlocks", "at-t-end-blocks"),
    Measure("Reads bytes", "ReadsBytes", "reads-bytes"),
    Measure("Writes bytes", "WritesBytes", "writes-bytes"),
    Measure("Maximum bytes", "MaximumBytes", "maximum-bytes"),
    Measure("Maximum blocks", "MaximumBlocks", "maximum-blocks"),
)


def _errors(tool: str) -> tuple[Measure, ...]:
    return (
        Measure("Errors", "Errors", f"{tool}-errors"),
        Measure("Contexts", "Contexts", f"{tool}-contexts"),
        Measure("Suppressed Errors", "SuppressedErrors", f"{tool}-suppressed-errors"),
        Measure("Suppressed Contexts", "SuppressedContexts", f"{tool}-suppressed-contexts"),
    )


CALLGRIND: Final = "CALLGRIND"
TOOLS: Final = {
    CALLGRIND: (*_CACHE, *_CALLGRIND_ONLY),
    "CACHEGRIND": _CACHE,
    "DHAT": _HEAP,
    "MEMCHECK": _errors("memcheck"),
    "HELGRIND": _errors("helgrind"),
    "DRD": _errors("drd"),
}
SLUG_OF_LABEL: Final = {tool: {measure.label: measure.slug for measure in measures} for tool, measures in TOOLS.items()}
SLUG_OF_KEY: Final = {
    tool: {measure.key: measure.slug for measure in measures if measure.key} for tool, measures in TOOLS.items()
}
