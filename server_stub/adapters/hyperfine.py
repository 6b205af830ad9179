"""hyperfine's `--export-json`: seconds for each command, as latency in nanoseconds.

Does not judge exit codes, and does not read the table that hyperfine prints.
"""

from typing import Any

from server_stub.adapters.documents import Refused, double, entries, fields, items, name, read_document, string
from server_stub.adapters.naming import Named, told_apart, words
from server_stub.adapters.outcome import Benchmarks
from server_stub.adapters.source import Source
from server_stub.adapters.units import NS_PER_S
from server_stub.metrics import Adapter, Average, Metric, Mismatch, Results


def read(source: Source, average: Average | None) -> Results | Mismatch:
    """Mean with its standard deviation on both sides; or the median between the smallest and the largest run."""

    def benchmarks(document: Any) -> Benchmarks:
        runs = entries(fields(document, "the document").get("results"), "results")
        metrics = [_latency(run, average) for run in runs]
        return {key: {"latency": metric} for key, metric in zip(_names(runs), metrics, strict=True)}

    return read_document(Adapter.SHELL_HYPERFINE, source, benchmarks)


def _names(runs: list[dict[str, Any]]) -> list[str]:
    """The command, or what `-n` called it; the latter hides parameters, which then come back in brackets."""
    return told_apart(Named(name(string(run, "command")), _parameters(run)) for run in runs)


def _parameters(run: dict[str, Any]) -> str:
    parameters = run.get("parameters")
    if parameters is None:
        return ""
    return words((key, value) for key, value in fields(parameters, "parameters").items() if type(value) is str)


def _latency(run: dict[str, Any], average: Average | None) -> Metric:
    mean, median, least, most = (double(run, key) * NS_PER_S for key in ("mean", "median", "min", "max"))
    _check_unread_fields(run)
    if average is Average.MEDIAN:
        return Metric(median, least, most)
    if run.get("stddev") is None:
        return Metric(mean)  # One run only: there is no deviation.
    seconds, deviation = double(run, "mean"), double(run, "stddev")
    return Metric(mean, (seconds - deviation) * NS_PER_S, (seconds + deviation) * NS_PER_S)


def _check_unread_fields(run: dict[str, Any]) -> None:
    """The rest that the reference asks of an entry, although none of it becomes a number."""
    double(run, "user")
    double(run, "system")
    if any(code is not None and type(code) is not int for code in items(run.get("exit_codes"), "exit_codes")):
        raise Refused("exit_codes holds something that is no whole number")
    if any(type(time) not in (float, int) for time in items(run.get("times") or [], "times")):
        raise Refused("times holds something that is no number")
