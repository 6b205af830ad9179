"""From the strings of a run to what will be stored: parsed, folded, and every key read as an identifier.

Pure. All of it happens before the first row is written, so that a string that cannot be read leaves nothing behind.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from server_stub.adapters import parse
from server_stub.errors import BadRequestError
from server_stub.fold import fold
from server_stub.metrics import Adapter, Average, Fold, Metric, Results
from server_stub.names import BenchmarkKey, NameId, benchmark_key, parse_resource_name_id

QUOTED_CHARACTERS_MAX = 200
NOTHING = Results({}, keys_are_names=False)


@dataclass(frozen=True, slots=True)
class Reading:
    """How strings are read: `settings` of a run."""

    adapter: Adapter = Adapter.MAGIC
    average: Average | None = None
    fold: Fold | None = None


@dataclass(frozen=True, slots=True)
class Output:
    """One result string with metrics that were taken from outside (build time, file sizes), or only one of the two."""

    text: str | None
    extras: Results = NOTHING


@dataclass(frozen=True, slots=True)
class KeyedBenchmark:
    """One benchmark of an iteration. `text` is its key as the output had it."""

    text: str
    key: BenchmarkKey
    metrics: list[tuple[NameId, Metric]]


Iteration = list[KeyedBenchmark]


def read_results(texts: Sequence[str], reading: Reading) -> list[Iteration]:
    """What a run's strings hold, one iteration each, or one altogether when they are folded.

    Raises `BadRequestError` naming the string and what is wrong with it.
    """
    return read_outputs([Output(text) for text in texts], reading)


def read_outputs(outputs: Sequence[Output], reading: Reading) -> list[Iteration]:
    """The same for outputs that bring metrics of their own along: then a text that says nothing is no fault."""
    parsed = [_parse(number, output, reading) for number, output in enumerate(outputs)]
    if reading.fold is not None:
        folded = fold(parsed, reading.fold)
        parsed = [] if folded is None else [folded]
    measures: dict[str, NameId] = {}
    return [_keyed(number, one, measures) for number, one in enumerate(parsed)]


def _parse(number: int, output: Output, reading: Reading) -> Results:
    outcome = NOTHING if output.text is None else parse(reading.adapter, output.text, reading.average)
    if isinstance(outcome, Results):
        return _merged(outcome, output.extras)
    if output.extras.benchmarks:
        return output.extras
    assert output.text is not None
    raise BadRequestError(
        f"results[{number}]: {outcome.reason}; it begins with {output.text[:QUOTED_CHARACTERS_MAX]!r}"
    )


def _merged(results: Results, extras: Results) -> Results:
    """The output's own metrics and those from outside; where both name the same one, the output's own stays."""
    if not extras.benchmarks:
        return results
    keys = dict.fromkeys([*results.benchmarks, *extras.benchmarks])
    merged = {key: extras.benchmarks.get(key, {}) | results.benchmarks.get(key, {}) for key in keys}
    return Results(merged, results.keys_are_names)


def _keyed(number: int, results: Results, measures: dict[str, NameId]) -> Iteration:
    """`measures` remembers how each measure's key was read: a few are used thousands of times."""
    try:
        return [
            KeyedBenchmark(
                text,
                benchmark_key(text, key_is_name=results.keys_are_names),
                [(_measure(key, measures), metric) for key, metric in metrics.items()],
            )
            for text, metrics in results.benchmarks.items()
        ]
    except ValueError as error:
        raise BadRequestError(f"results[{number}]: the name of a benchmark or measure {error}") from None


def _measure(key: str, known: dict[str, NameId]) -> NameId:
    if key not in known:
        known[key] = parse_resource_name_id(key)
    return known[key]


def benchmarks_in(iterations: Iterable[Iteration]) -> list[NameId]:
    """Every benchmark that is named, in the order of first mention."""
    return list(dict.fromkeys(benchmark.key.id for iteration in iterations for benchmark in iteration))


def measures_in(iterations: Iterable[Iteration]) -> list[NameId]:
    """Every measure that is named, in the order of first mention."""
    every = (measure for iteration in iterations for benchmark in iteration for measure, _ in benchmark.metrics)
    return list(dict.fromkeys(every))
