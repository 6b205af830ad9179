"""What a harness measured, once its output was read: the records that the parsers make and everything else consumes.

Holds no formulas about history (see `boundaries`) and knows no database.
"""

from dataclasses import dataclass
from enum import StrEnum

from msgspec import Struct


class Adapter(StrEnum):
    """The `settings.adapter` values of a run. A language group is accepted and read as `magic`."""

    MAGIC = "magic"
    JSON = "json"
    RUST = "rust"
    RUST_BENCH = "rust_bench"
    RUST_CRITERION = "rust_criterion"
    RUST_IAI = "rust_iai"
    RUST_GUNGRAUN = "rust_gungraun"
    RUST_IAI_CALLGRIND = "rust_iai_callgrind"
    RUST_GUNGRAUN_STDOUT = "rust_gungraun_stdout"
    RUST_GUNGRAUN_JSON = "rust_gungraun_json"
    CPP = "cpp"
    CPP_GOOGLE = "cpp_google"
    CPP_CATCH2 = "cpp_catch2"
    GO = "go"
    GO_BENCH = "go_bench"
    JAVA = "java"
    JAVA_JMH = "java_jmh"
    C_SHARP = "c_sharp"
    C_SHARP_DOT_NET = "c_sharp_dot_net"
    JS = "js"
    JS_BENCHMARK = "js_benchmark"
    JS_TIME = "js_time"
    JS_VITEST = "js_vitest"
    PYTHON = "python"
    PYTHON_ASV = "python_asv"
    PYTHON_PYTEST = "python_pytest"
    RUBY = "ruby"
    RUBY_BENCHMARK = "ruby_benchmark"
    SHELL = "shell"
    SHELL_HYPERFINE = "shell_hyperfine"
    DART = "dart"
    DART_BENCHMARK_HARNESS = "dart_benchmark_harness"


class Average(StrEnum):
    """Which middle a harness that reports several should give: `settings.average`."""

    MEAN = "mean"
    MEDIAN = "median"


class Fold(StrEnum):
    """How several result strings become one: `settings.fold`."""

    MIN = "min"
    MAX = "max"
    MEAN = "mean"
    MEDIAN = "median"


class Metric(Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """One measured value with the bounds its harness gave, in the unit of its measure.

    A file may hold hundreds of thousands: so it is a record that is made, read from JSON and written to it without a
    frame of Python, and that the garbage collector need not visit.
    """

    value: float
    lower_value: float | None = None
    upper_value: float | None = None

    @property
    def parts(self) -> tuple[float, float | None, float | None]:
        """The value, its lower and its upper bound."""
        return self.value, self.lower_value, self.upper_value


@dataclass(frozen=True, slots=True)
class Results:
    """What one result string held: benchmark key → measure key → metric.

    `keys_are_names` tells how a benchmark key is looked up later: harness outputs print names, while the keys of a BMF
    document may also be a UUID or a slug.
    """

    benchmarks: dict[str, dict[str, Metric]]
    keys_are_names: bool = True


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Why a text is not in a format, in one short line that starts with the adapter's name."""

    reason: str
