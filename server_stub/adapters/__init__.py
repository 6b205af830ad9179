"""Every output that a run may hand in: a text and an adapter's name in, results or a reason why not out.

`parse` is the way in. It is pure, takes any text, raises nothing, and takes time in proportion to the text. One format
is one file of this package; here stand the table of them, their groups and the order of tries. Several result strings
and their folding belong to the caller.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from server_stub.adapters import bmf, hyperfine, pytest_benchmark
from server_stub.adapters.source import Source
from server_stub.metrics import Adapter, Average, Mismatch, Results

EITHER: Final = frozenset(Average)
NEITHER: Final[frozenset[Average]] = frozenset()


class Format(NamedTuple):
    """How one format is read. `averages` are those it can give; asked for another one, it steps aside.

    Without `sign` in the text nothing can be in this format; an empty sign means a JSON document. So `magic` reads a
    text only with those formats that can have made it, and comes to the same answer as if it had tried them all.
    """

    read: Callable[[Source, Average | None], Results | Mismatch]
    averages: frozenset[Average]
    sign: str = ""


FORMATS: Final[dict[Adapter, Format]] = {
    Adapter.JSON: Format(bmf.read, EITHER),
    Adapter.PYTHON_PYTEST: Format(pytest_benchmark.read, EITHER),
    Adapter.SHELL_HYPERFINE: Format(hyperfine.read, EITHER),
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
# The first format that finds something wins, and nothing is merged: so the order decides about a mixed text.
ORDER: Final[dict[Adapter, tuple[Adapter, ...]]] = {
    **{adapter: (adapter,) for adapter in Adapter},
    **GROUPS,
    Adapter.RUST_GUNGRAUN: GUNGRAUN,
    Adapter.RUST_IAI_CALLGRIND: GUNGRAUN,
    Adapter.MAGIC: (Adapter.JSON, *(member for members in GROUPS.values() for member in members)),
}


def parse(adapter: Adapter, text: str, average: Average | None = None) -> Results | Mismatch:
    """What the text holds in this adapter's format, or in the first format of its group that can read it.

    Times are nanoseconds, throughputs operations per second, sizes bytes; a benchmark's measures are named by slug
    (`json`: as the document has them).
    """
    source = Source(text)
    mismatches = []
    for member in ORDER[adapter]:
        if member not in FORMATS:
            continue
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


def _read(member: Adapter, source: Source, average: Average | None) -> Results | Mismatch:
    how = FORMATS[member]
    if average is not None and average not in how.averages:
        return Mismatch(f"{member}: gives no {average}")
    if how.sign and how.sign not in source.skeleton:
        return Mismatch(f"{member}: no {how.sign!r} in the text")
    return how.read(source, average)


def _summary(adapter: Adapter, reasons: list[str]) -> str:
    return reasons[0] if len(reasons) == 1 else f"{adapter}: nothing matched; {'; '.join(reasons)}"
