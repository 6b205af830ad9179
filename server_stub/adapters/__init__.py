"""Every output that a run may hand in: a text and an adapter's name in, results or a reason why not out.

`parse` is the way in. It is pure, takes any text, raises nothing, and takes time in proportion to the text. One format
is one file of this package; here stand the table of them, their groups and the order of tries. Several result strings
and their folding belong to the caller.
"""

from importlib import import_module
from typing import Final, NamedTuple, Protocol

from server_stub.adapters.source import NO_DOCUMENT, Source
from server_stub.metrics import Adapter, Average, Mismatch, Results

EITHER: Final = frozenset(Average)
MEAN: Final = frozenset({Average.MEAN})
MEDIAN: Final = frozenset({Average.MEDIAN})
NEITHER: Final[frozenset[Average]] = frozenset()
# What Node prints for `console.time` has no adapter of its own: it is the second half of `js_time`.
NODE_TIME: Final = "js_time (Node)"


class Format(NamedTuple):
    """How one format is read: by which module of this package, and by which function of it.

    Asked for another average than one of `averages`, it steps aside. Without `sign` in the text nothing can be in this
    format; an empty sign means a JSON document. So `magic` reads a text only with those formats that can have made it,
    and comes to the same answer as if it had tried them all.
    """

    module: str
    averages: frozenset[Average]
    sign: str = ""
    function: str = "read"

    def read(self, source: Source, average: Average | None) -> Results | Mismatch:
        """Read by a module that is imported when it is first needed: of twenty a text needs one or two."""
        reader: Reader = getattr(import_module(f"{__name__}.{self.module}"), self.function)
        return reader(source, average)


class Reader(Protocol):
    """What a format's module is for."""

    def __call__(self, source: Source, average: Average | None, /) -> Results | Mismatch:
        """What the source holds in this format, or what was missed."""


FORMATS: Final[dict[str, Format]] = {
    Adapter.JSON: Format("bmf", EITHER),
    Adapter.RUST_BENCH: Format("libtest", MEDIAN, "/iter"),
    Adapter.RUST_CRITERION: Format("criterion", MEAN, "time:"),
    Adapter.RUST_IAI: Format("iai", NEITHER, "Estimated Cycles:"),
    Adapter.RUST_GUNGRAUN_JSON: Format("gungraun_json", NEITHER, '"module_path"'),
    Adapter.RUST_GUNGRAUN_STDOUT: Format("gungraun_text", NEITHER, "::"),
    Adapter.CPP_GOOGLE: Format("google", MEAN),
    Adapter.CPP_CATCH2: Format("catch2", MEAN, "-" * 79),
    Adapter.GO_BENCH: Format("go", MEAN, "/op"),
    Adapter.JAVA_JMH: Format("jmh", MEAN),
    Adapter.C_SHARP_DOT_NET: Format("dot_net", EITHER),
    Adapter.JS_BENCHMARK: Format("benchmark_js", MEDIAN, "sampled)"),
    Adapter.JS_TIME: Format("console_time", NEITHER, "ended", "read_firefox"),
    NODE_TIME: Format("console_time", NEITHER, ": ", "read_node"),
    Adapter.JS_VITEST: Format("vitest", EITHER),
    Adapter.PYTHON_ASV: Format("asv", MEDIAN, "·"),
    Adapter.PYTHON_PYTEST: Format("pytest_benchmark", EITHER),
    Adapter.RUBY_BENCHMARK: Format("ruby", NEITHER, "real"),
    Adapter.SHELL_HYPERFINE: Format("hyperfine", EITHER),
    Adapter.DART_BENCHMARK_HARNESS: Format("dart", MEAN, "(RunTime):"),
}

GROUPS: Final[dict[Adapter, tuple[Adapter, ...]]] = {
    Adapter.C_SHARP: (Adapter.C_SHARP_DOT_NET,),
    Adapter.CPP: (Adapter.CPP_CATCH2, Adapter.CPP_GOOGLE),
    Adapter.DART: (Adapter.DART_BENCHMARK_HARNESS,),
    Adapter.GO: (Adapter.GO_BENCH,),
    Adapter.JAVA: (Adapter.JAVA_JMH,),
    Adapter.JS: (Adapter.JS_BENCHMARK, Adapter.JS_TIME, Adapter.JS_VITEST),
    Adapter.PYTHON: (Adapter.PYTHON_ASV, Adapter.PYTHON_PYTEST),
    Adapter.RUBY: (Adapter.RUBY_BENCHMARK,),
    Adapter.RUST: (
        Adapter.RUST_BENCH,
        Adapter.RUST_CRITERION,
        Adapter.RUST_IAI,
        Adapter.RUST_GUNGRAUN_JSON,
        Adapter.RUST_GUNGRAUN_STDOUT,
    ),
    Adapter.SHELL: (Adapter.SHELL_HYPERFINE,),
}
GUNGRAUN: Final = (Adapter.RUST_GUNGRAUN_JSON, Adapter.RUST_GUNGRAUN_STDOUT)
EVERY: Final = (Adapter.JSON, *(member for members in GROUPS.values() for member in members))
# The first format that finds something wins, and nothing is merged: so the order decides about a mixed text.
ORDER: Final[dict[Adapter, tuple[str, ...]]] = {
    **{adapter: (adapter,) for adapter in EVERY},
    **GROUPS,
    Adapter.RUST_GUNGRAUN: GUNGRAUN,
    Adapter.RUST_IAI_CALLGRIND: GUNGRAUN,
    Adapter.JS_TIME: (Adapter.JS_TIME, NODE_TIME),
    Adapter.JS: (*GROUPS[Adapter.JS], NODE_TIME),
    Adapter.MAGIC: (*EVERY, NODE_TIME),
}


def parse(adapter: Adapter, text: str, average: Average | None = None) -> Results | Mismatch:
    """What the text holds in this adapter's format, or in the first format of its group that can read it.

    Times are nanoseconds, throughputs operations per second, sizes bytes; a benchmark's measures are named by slug
    (`json`: as the document has them).
    """
    source = Source(text)
    mismatches = []
    for member in ORDER[adapter]:
        outcome = _read(member, source, average)
        if isinstance(outcome, Results):
            return outcome
        mismatches.append(outcome.reason)
    return Mismatch(_summary(adapter, mismatches))


def normalise(adapter: Adapter) -> Adapter:
    """How the API stores and shows an adapter: a language group is read as `magic`, an old name under its new one."""
    if adapter in GROUPS:
        return Adapter.MAGIC
    return Adapter.RUST_GUNGRAUN if adapter is Adapter.RUST_IAI_CALLGRIND else adapter


def _read(member: str, source: Source, average: Average | None) -> Results | Mismatch:
    how = FORMATS[member]
    if average is not None and average not in how.averages:
        return Mismatch(f"{member}: gives no {average}")
    if how.sign and how.sign not in source.signs:
        return Mismatch(f"{member}: no {how.sign[:20]!r} in the text")
    if not how.sign and not source.is_document:
        return Mismatch(f"{member}: {NO_DOCUMENT}")
    return how.read(source, average)


def _summary(adapter: Adapter, reasons: list[str]) -> str:
    """One line; formats that missed the same thing stand together."""
    if len(reasons) == 1:
        return reasons[0]
    members_of: dict[str, list[str]] = {}
    for reason in reasons:
        member, _, why = reason.partition(": ")
        members_of.setdefault(why, []).append(member)
    return f"{adapter}: nothing matched; " + "; ".join(f"{', '.join(who)}: {why}" for why, who in members_of.items())
