"""Any text and any JSON is answered, by every adapter, in time that grows with its length and no faster.

The long inputs are made of something that a careless pattern reads again for every character: it would take hours.
"""

import json
import math
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from server_stub.adapters import EVERY, bmf, libtest, parse
from server_stub.adapters.bmf import METRIC_KEYS
from server_stub.adapters.documents import Refused
from server_stub.adapters.outcome import Benchmarks
from server_stub.adapters.source import NotJson, Source
from server_stub.metrics import Adapter, Average, Metric, Mismatch, Results

LENGTH = 2**18
AVERAGES = st.sampled_from([None, *Average])
ADAPTERS = st.sampled_from(sorted(Adapter))

# Words of the formats, so that random texts come near to them.
WORDS = st.sampled_from(
    [
        *(" ", "  ", "\t", "\n", "\r", "\r\n", "1", "1,234.5", ".", ",", "9" * 300, "ns", "µs", "us", "ms", "s", "m"),
        *("test ", "a", "größe", "... bench: ", "/iter (+/- ", ")", "time: [", "]", "Instructions: ", "a::b::c d"),
        *("  L1 Hits: 1|2", "x", "ops/sec ±", "% (", " runs sampled)", ": ", " - timer ended", "(RunTime): ", "us."),
        *("[ 5.00%] ··· ", "±", "ok", "=== ===", "BenchmarkA-8", "ns/op", "B/op", "/op", " user system total real"),
        *("( 1.0)", "-" * 79, "\x1b[31m", "\x1b[0m", "\ufeff", "\x1b", "\x00", "\ud800", "{", "}", '"value": 1', "e5"),
    ]
)
TEXTS = st.lists(WORDS, max_size=40).map("".join) | st.text()

# Keys of the formats, so that random documents come near to them.
KEYS = st.sampled_from(
    [
        *("results", "command", "mean", "stddev", "median", "user", "system", "min", "max", "exit_codes", "times"),
        *("benchmarks", "machine_info", "commit_info", "fullname", "stats", "iqr", "context", "caches", "name"),
        *("real_time", "time_unit", "files", "groups", "fullName", "hz", "rme", "sd", "benchmark", "primaryMetric"),
        *("score", "scoreConfidence", "scoreUnit", "secondaryMetrics", "HostEnvironmentInfo", "Benchmarks", "Method"),
        *("Statistics", "Mean", "Memory", "value", "lower_value", "version", "module_path", "profiles", "summaries"),
    ]
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["ns", "us/op", "ops/s", "NaN", "1.5", "6"])
)
DOCUMENTS = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text(max_size=3), inner, max_size=8)
)


def assert_sound(outcome: Results | Mismatch) -> None:
    if isinstance(outcome, Mismatch):
        assert outcome.reason and "\n" not in outcome.reason
        return
    for name, measures in outcome.benchmarks.items():
        assert 0 < len(name.encode(errors="replace")) <= 1024
        assert all(math.isfinite(part) for metric in measures.values() for part in metric.parts if part is not None)


@given(adapter=ADAPTERS, text=TEXTS, average=AVERAGES)
@example(adapter=Adapter.MAGIC, text="", average=None)
@settings(max_examples=150, deadline=None)
def test_any_text_is_answered_with_sound_results_or_a_reason(
    adapter: Adapter, text: str, average: Average | None
) -> None:
    assert_sound(parse(adapter, text, average))


@given(adapter=ADAPTERS, document=DOCUMENTS, average=AVERAGES)
@settings(max_examples=150, deadline=None)
def test_any_json_is_answered_with_sound_results_or_a_reason(
    adapter: Adapter, document: Any, average: Average | None
) -> None:
    assert_sound(parse(adapter, json.dumps(document), average))


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=16)  # 64 bytes at most.
NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**70), 2**70)
BMF = st.dictionaries(
    NAMES,
    st.dictionaries(
        NAMES.filter(lambda key: key == key.strip()),
        st.fixed_dictionaries(
            {"value": NUMBERS}, optional={"lower_value": st.none() | NUMBERS, "upper_value": NUMBERS}
        ),
        max_size=3,
    ),
    max_size=5,
)


def as_metric(fields: dict[str, float | None]) -> Metric:
    value, lower, upper = (None if part is None else float(part) for part in map(fields.get, METRIC_KEYS))
    assert value is not None
    return Metric(value, lower, upper)


@given(document=BMF, indent=st.sampled_from([None, 0, 2]), ascii_only=st.booleans())
@settings(max_examples=100, deadline=None)
def test_a_bmf_document_comes_back_whole_however_it_is_written(
    document: dict[str, Any], indent: int | None, ascii_only: bool
) -> None:
    expected = {
        name: {measure: as_metric(fields) for measure, fields in measures.items()}
        for name, measures in document.items()
    }
    text = json.dumps(document, indent=indent, ensure_ascii=ascii_only)
    assert parse(Adapter.JSON, text) == Results(expected, keys_are_names=False)


def member(key: str, value: str) -> str:
    return f'"{key}": {value}'


def mapping(members: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(members, max_size=3).map(lambda written: f"{{{', '.join(written)}}}")


# Documents as texts, since no value of Python has a key twice or a number that is none.
TOKENS = st.sampled_from(
    [
        *(
            "1",
            "-0",
            "1.5e-3",
            "null",
            "1e400",
            "NaN",
            "9" * 400,
            "12345678901234567890123",
            "01",
            "true",
            '"1"',
            "[1]",
        ),
        *("[1, 2, 3]", "{}", '"\\ud800"', '"\ud800"', "1,", '{"value": 1}', "18446744073709551616", "-1"),
    ]
)
TOKENS_OF_METRICS = st.sampled_from(["1", "2.5"]) | TOKENS
FIELDS = st.sampled_from(["value", *METRIC_KEYS, "val\\u0075e", "times", 'a"value'])
METRIC_TEXTS = mapping(st.builds(member, FIELDS, TOKENS_OF_METRICS)) | TOKENS
MEASURE_TEXTS = mapping(st.builds(member, st.sampled_from(["latency", "b", " b", "b" * 65]), METRIC_TEXTS)) | TOKENS
BMF_TEXTS = mapping(st.builds(member, st.sampled_from(["a", "b", "", "\\ud800", "a" * 1025]), MEASURE_TEXTS))


def refused_as_none(read: Callable[[], Benchmarks | None]) -> Benchmarks | None:
    try:
        return read()
    except (Refused, NotJson):
        return None


@given(text=BMF_TEXTS)
@settings(max_examples=300, deadline=None)
def test_bmf_read_plainly_is_the_same_as_read_exactly(text: str) -> None:
    plain = refused_as_none(lambda: bmf._read_plainly(text))
    exact = refused_as_none(lambda: bmf._read_exactly(Source(text)))
    assert plain in (None, exact)
    assert exact is None or parse(Adapter.JSON, text) == Results(exact, keys_are_names=False)


@given(items=st.lists(TOKENS, max_size=3), key=st.sampled_from(["times", "exit_codes", "data", "other"]))
@settings(max_examples=300, deadline=None)
def test_a_document_without_its_samples_is_json_when_the_whole_is(items: list[str], key: str) -> None:
    source = Source(f'[{{"{key}": [{", ".join(items)}], "{key}": 1}}, {{"{key}" : [ 1 ]}}]')
    try:
        whole = orjson.loads(source.text)
    except orjson.JSONDecodeError:
        with pytest.raises(NotJson):
            _ = source.document
        return
    assert source.whole_document == whole
    assert [{**entry, key: []} for entry in source.document] == [{**entry, key: []} for entry in whole]


SEEDS = [
    *(" ", "\t", "-", "1", ",", "[", '{"a":', "·", "\x1b[", "\x1b]", "\r", '"', "\\", "x ", "1 ", "\n", " \n", "{\n"),
    *(
        "time: [1 ns ",
        "test a ... bench: ",
        "(RunTime): 1 ",
        "a x 1 ops/sec ±1% (1 runs sampled) ",
        ": 1ms - timer ended ",
    ),
    *("a::", "a::b::c\n", ' {\n"a":\n', "a::b::c\n  x: 1|2\n", "  Instructions: 1\n", "-" * 79 + "\n", "a 1 1 1 ns\n"),
    *(
        " user system total real\n",
        "a 1 1 1 ( 1)x\n",
        "[1%] ··· a ok\n[1%] ··· = =\n",
        "[1%] ··· a 1±1ms ",
        "B 1 1 ns/op ",
    ),
    *(
        "B 1 1 ns/op 1 a/op\n",
        "a: 1.5ms ",
        '{"results":[{"times":[1,',
        '\\"times":[1,2,',
        '{"a":{"b":{"value":1}},',
        "}\n{\n",
    ),
]
# Every sign that lets a parser look closer, on a line of its own.
SIGNS = '(RunTime): /op sampled) timer ended · real /iter time: Estimated Cycles: "module_path" ::'
SIGNS_IN_JSON = SIGNS.replace('"', '\\"')
CASE = f"{'-' * 79}\nCase\n{'-' * 79}\n"


@pytest.mark.parametrize("seed", SEEDS)
def test_a_long_text_of_one_piece_is_read_once(seed: str) -> None:
    text = seed * (LENGTH // len(seed))
    for beginning in ("", '{"a":', f"{CASE}{SIGNS}\n user system total real\n"):
        assert_sound(parse(Adapter.MAGIC, beginning + text))


EVERY_PARSER = pytest.mark.parametrize("adapter", [Adapter.MAGIC, *EVERY])


@EVERY_PARSER
def test_a_line_of_25_mebibytes_is_a_mismatch(adapter: Adapter) -> None:
    assert isinstance(parse(adapter, f"{SIGNS} {'1,000 ns ' * (25 * 2**20 // 9)}"), Mismatch)
    assert isinstance(parse(adapter, f'{{"{SIGNS_IN_JSON}":"{"x" * 25 * 2**20}"}}'), Mismatch)


@EVERY_PARSER
def test_a_document_ten_thousand_deep_is_a_mismatch(adapter: Adapter) -> None:
    for opening, closing in (('{"a":', "}"), ("[", "]"), ('{"benchmarks":[', "]}"), ('[{"a":{"b":', "}}]")):
        assert isinstance(parse(adapter, opening * 10_000 + "1" + closing * 10_000), Mismatch)
        assert isinstance(parse(adapter, '"module_path"' + opening * 10_000), Mismatch)


@EVERY_PARSER
def test_a_million_lines_that_mean_nothing_are_a_mismatch(adapter: Adapter) -> None:
    assert isinstance(parse(adapter, f"{SIGNS}\n" + "nothing to see here\n" * 1_000_000), Mismatch)
    assert isinstance(parse(adapter, "[" + "1,\n" * 1_000_000 + "1]"), Mismatch)


def test_a_text_that_means_nothing_is_a_mismatch_that_names_every_format() -> None:
    outcome = parse(Adapter.MAGIC, "nothing to see here\n")
    assert isinstance(outcome, Mismatch)
    assert all(adapter in outcome.reason for adapter in EVERY)


@pytest.mark.parametrize("row", ["A{} 100 {} ns/op", "test A{} ... bench: {} ns/iter (+/- 0)"])
def test_a_long_text_of_good_rows_gives_every_row(row: str) -> None:
    outcome = parse(Adapter.MAGIC, "".join(f"{row.format(number, number)}\n" for number in range(100_000)))
    assert isinstance(outcome, Results)
    values = {name: measures["latency"].value for name, measures in outcome.benchmarks.items()}
    assert values == {f"A{number}": number for number in range(100_000)}


LIBTEST_WORDS = st.sampled_from(
    [
        *("\ntest ", "\ntest\t", "a", "b\n", " ", "  ", "\t", "... bench: ", "1", "2,0.", " ns/iter (+/- ", " /iter"),
        *("\ntest a ... bench: 1 ns/iter (+/- 1)", "\ntest b\t...  bench: 1 ns/iter (+/- 1)", ")"),
    ]
)


@given(chunk=st.lists(LIBTEST_WORDS, max_size=12).map("".join))
@settings(max_examples=300, deadline=None)
def test_the_fast_pattern_of_libtest_cuts_as_the_exact_one_does(chunk: str) -> None:
    assert libtest._rows(chunk) == libtest._cut(libtest._ROW, chunk)


def test_the_chunks_of_a_text_are_all_of_it_and_begin_with_a_line_end() -> None:
    text = "".join(f"{'x' * (number * 7919 % 999)}\n" for number in range(1_000))
    chunks = list(Source(text).chunks())
    assert "".join(chunks) == "\n" + text
    assert len(chunks) == 8
    assert all(chunk.startswith("\n") for chunk in chunks)
