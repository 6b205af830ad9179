"""One sentence of a format's grammar a row: a text, and what has to come of it. Whole outputs are in `test_outputs`.

Expected metrics are written as in the JSON of a report: a value alone, or value, lower and upper bound.
"""

import json
from typing import Any

import pytest

from server_stub.adapters import normalise, parse
from server_stub.metrics import Adapter, Average, Metric, Mismatch, Results

RULE = "-" * 79
CATCH2_HEAD = f"{RULE}\nCase\n{RULE}\n"
CATCH2_ROWS = "Fib 10   100  208  7.1 ms \n  344 ns  341 ns  349 ns \n  19 ns  11 ns  29 ns \n"
CATCH2_MEANS = f"a.cpp:1\n...\n\nbenchmark name   samples   iterations   mean\n{RULE}\n"
RUBY_HEAD = "       user     system      total        real\n"
GUNGRAUN = "a::b::c x\n  Instructions: 1|N/A (***)\n"

LINES: list[tuple[str, str, dict[str, Any]]] = [
    ("rust_bench", "test a ... bench: 1,000 ns/iter (+/- 10)\n", {"a": (1000, 990, 1010)}),
    ("rust_bench", "test a ... bench: 1.5 µs/iter (+/- 2.5)", {"a": (1500, -1000, 4000)}),
    ("rust_bench", "test a ... bench: 1 ns/iter (+/- 1) = 812 MB/s\r\n", {"a": (1, 0, 2)}),
    ("rust_bench", "\ufefftest a ... bench: .5 ns/iter (+/- 0.)", {"a": (0.5, 0.5, 0.5)}),
    (
        "rust_bench",
        "test a ... bench: 1.2.3 ns/iter (+/- 1)\ntest b ... bench: 007 ns/iter (+/- 1)\n",
        {"b": (7, 6, 8)},
    ),
    (
        "rust_bench",
        f"test {'x' * 1025} ... bench: 1 ns/iter (+/- 1)\ntest {'é' * 512} ... bench: 1 ns/iter (+/- 1)\n",
        {"é" * 512: (1, 0, 2)},
    ),
    ("rust_bench", "test a ... bench: 1 m/iter (+/- 1)\ntest b ... bench: 1 ms/iter (+/- 1)", {"b": (1e6, 0, 2e6)}),
    (
        "rust_bench",
        "test a\nb ... bench: 1 ns/iter (+/- 1)\ntest\tc  ...  bench: 2 ns/iter (+/-  1)\n",
        {"c": (2, 1, 3)},
    ),
    (
        "rust_bench",
        "test /iter ... bench: 3 ns/iter (+/- 1)\ntest a ... bench: 1 ns/iter (+/- 1)",
        {"/iter": (3, 2, 4), "a": (1, 0, 2)},
    ),
    ("rust_criterion", "a  b time: [1 ns 2 us 3 ms]\n", {"a  b": (2000, 1, 3e6)}),
    ("rust_criterion", " name \n   time: [1 ps 2 ps 3 ps]\n", {" name ": (0.002, 0.001, 0.003)}),
    ("rust_criterion", "uptime: [1 ns 2 ns 3 ns]\nx\ttime: [1 ns 2 ns 3 ns]\n", {"x": (2, 1, 3)}),
    ("go_bench", "A 1 2.5 s/op\nB 1 1e+06 ns/op \t\n", {"A": 2.5e9, "B": 1e6}),
    ("go_bench", "A 99999999999999999999 2 ns/op\nB 18446744073709551615 2 ns/op\n", {"B": 2}),
    ("go_bench", "A 1 2 ns/op extra\nB 1 2 ns/op 3 extra\n", {"B": {"latency": 2, "extra": 3}}),
    ("go_bench", "A 1 2 ns/op 1e+06 w/op\n", {"A": {"latency": 2, "w/op": 1e6}}),
    ("go_bench", "A 1 2 ns/op 3.5 µwidgets 4 B/op\n", {"A": {"latency": 2, "B/op": 4}}),
    ("dart_benchmark_harness", " log A(RunTime):1.5 us. \n(RunTime): 2 us.\n", {"log A": 1500}),
    ("dart_benchmark_harness", "A(RunTime): B(RunTime): 1 us.\nC(RunTime): 1 us.", {"C": 1000}),
    ("js_benchmark", " a x b x 10 ops/sec ±5.00% (1 run sampled)\n", {" a x b": {"throughput": (10, 9.5, 10.5)}}),
    ("js_benchmark", "a x 10 ops/sec ±0% (2  runs\tsampled)\n", {"a": {"throughput": (10, 10, 10)}}),
    ("js_time", "a: b: 5ms - timer ended\na: 6ms\n", {"a: b": 5e6}),
    ("js_time", "a:\t5us  -  timer  ended\n", {"a": 5e3}),
    ("js_time", "a: 5ms\nb: 1:02:03.500 (h:mm:ss.mmm)\n", {"a": 5e6, "b": 3723.5e9}),
    ("python_asv", "[  1.00%] ··· a.b  1.5±0.5ms\n[ 2.00%] ··· c  failed\n", {"a.b": (1.5e6, 1e6, 2e6)}),
    ("python_asv", "[1%] ··\x1b[0m· a 1±0ms\x1b[0m\n", {"a": (1e6, 1e6, 1e6)}),
    ("python_asv", "[1%] ·\x1b[0m b 1±0s\n", {"b": (1e9, 1e9, 1e9)}),
    ("python_asv", "[1%] · a 1±0m\n", {"a": (60e9, 60e9, 60e9)}),
    ("python_asv", "[ 1%]\t·\ta  1±0ns\n", {"a": (1, 1, 1)}),
    ("ruby_benchmark", f"{RUBY_HEAD}a: 1 1 1 ( 2.0)\nnoise\nb: 1 1 1 ( 2.0)\n", {"a:": 2e9}),
    ("ruby_benchmark", f"{RUBY_HEAD}a 1 1 1 (100.5)\n\n 1 1 1 ( 1.0)\nb 1 1 1 ( 2.0)", {"a": 100.5e9, "b": 2e9}),
    ("ruby_benchmark", f"{RUBY_HEAD}a 1 1 1 ( 1.0)\n{RUBY_HEAD}b 1 1 1 ( 2.0)", {"a": 1e9, "b": 2e9}),
    ("cpp_catch2", CATCH2_HEAD + CATCH2_ROWS, {"Case: Fib 10": (344, 325, 363)}),
    (
        "cpp_catch2",
        2 * f"{CATCH2_HEAD}{CATCH2_MEANS}Fib  100  208  7.1 ms \n\n\n",
        {"Case: Fib": 7.1e6},
    ),
    ("cpp_catch2", CATCH2_ROWS + CATCH2_HEAD + CATCH2_ROWS, {"Case: Fib 10": (344, 325, 363)}),
    (
        "cpp_catch2",
        f"{RULE}\nCase\n  one\n  two\n  three\n{RULE}\n{CATCH2_ROWS}",
        {"Case one two three: Fib 10": (344, 325, 363)},
    ),
    ("rust_gungraun", GUNGRAUN.removesuffix("\n"), {"a::b::c x": {"instructions": 1}}),
    ("rust_gungraun", f"{GUNGRAUN}noise\n  L1 Hits: 2|N/A (***)\n", {"a::b::c x": {"instructions": 1}}),
    ("rust_gungraun", f"{GUNGRAUN}\n  L1 Hits: 2|3 (-33.3%)\n", {"a::b::c x": {"instructions": 1, "l1-hits": 2}}),
    (
        "rust_gungraun",
        f"{GUNGRAUN}  === MASSIF ===\n  L1 Hits: 2|3 (-33.3%) [-1.5x]\n",
        {"a::b::c x": {"instructions": 1}},
    ),
]


@pytest.mark.parametrize(("adapter", "text", "expected"), LINES)
def test_a_line_format_reads_what_its_grammar_says(adapter: str, text: str, expected: dict[str, Any]) -> None:
    outcome = parse(Adapter(adapter), text)
    assert isinstance(outcome, Results)
    assert outcome.benchmarks == {name: measures_of(measures) for name, measures in expected.items()}


def measures_of(written: Any) -> dict[str, Metric]:
    measures = written if isinstance(written, dict) else {"latency": written}
    return {slug: Metric(*metric) if isinstance(metric, tuple) else Metric(metric) for slug, metric in measures.items()}


NOT_LINES = [
    ("rust_bench", "test a b ... bench: 1 ns/iter (+/- 1)\ntest a ... bench: 1 ns/iter (+/- 1) \n"),
    ("rust_bench", "test a ... bench: 1e3 ns/iter (+/- 1)\n test a ... bench: 1 ns/iter (+/- 1)\n"),
    ("rust_criterion", "a time: [1 ns 2 ns 3 ns] \na time: [1% 2% 3%]\n\n  time: [1 ns 2 ns 3 ns]\n"),
    ("go_bench", "A 1 4.0 widgets/op 10 ns/op\nA 1 10 ns/op 4\nA 10 ns/op\n"),
    ("js_benchmark", "a x 1e+21 ops/sec ±1.00% (2 runs sampled)\n x 1 ops/sec ±1.00% (2 runs sampled)\n"),
    ("js_time", "a: 5 ms - timer ended\n: 5ms - timer ended\nfinished in 0.5s\n"),
    ("python_asv", "[1%] ··· a 1±1ms \n [1%] ··· a 1±1ms\n[1%] ··· a 1±1 ms\n"),
    ("ruby_benchmark", "user system total real\na 1 1 1 ( 1)\n"),
    ("cpp_catch2", f"{RULE}-\nCase\n{RULE}\n{CATCH2_ROWS}"),
    ("rust_iai", "a\n Instructions: 1\n L1 Accesses: 1\n RAM Accesses: 1\n Estimated Cycles: 1\n"),
    ("rust_gungraun", "a::b\n  Instructions: 1|N/A (***)\n"),
]


@pytest.mark.parametrize(("adapter", "text"), NOT_LINES)
def test_lines_that_only_look_like_a_format_are_a_mismatch(adapter: str, text: str) -> None:
    outcome = parse(Adapter(adapter), text)
    assert isinstance(outcome, Mismatch)
    assert outcome.reason.startswith(adapter)


HYPERFINE = {
    "command": "make",
    "mean": 0.5,
    "stddev": 0.25,
    "median": 0.09,
    "user": 1,
    "system": 1,
    "min": 0.05,
    "max": 0.2,
    "exit_codes": [0, None],
}
GOOGLE = {"name": "a", "real_time": "1.5e3", "time_unit": "us"}
CONTEXT: dict[str, Any] = {"caches": []}
JMH = {"benchmark": "a", "secondaryMetrics": {}}
PYTEST = {"fullname": "a", "stats": {"mean": 1, "stddev": 0, "median": 1, "iqr": 0}}
NET = {"Mean": 1, "StandardDeviation": 1, "Median": 1, "InterquartileRange": 1}

REFUSED = [
    ("json", {"a": {"b": {"value": "1"}}}, "json: value of a metric is not a number"),
    ("json", {"a": {"b": {"value": True}}}, "json: value of a metric is not a number"),
    ("json", {"a": {" b": {"value": 1}}}, "json: measure ' b' has to have 1 to 64 bytes and no blank at either end"),
    ("json", {"": {}}, "json: a benchmark's name has to have 1 to 1024 bytes"),
    ("json", {"a": []}, "json: benchmark 'a' is not an object"),
    ("json", [1], "json: the document is not an object"),
    ("shell_hyperfine", {"results": [{**HYPERFINE, "user": None}]}, "shell_hyperfine: user is not a number"),
    ("shell_hyperfine", {"results": [HYPERFINE, 1]}, "shell_hyperfine: results[1] is not an object"),
    ("shell_hyperfine", {"results": []}, "shell_hyperfine: the document holds no benchmark"),
    (
        "shell_hyperfine",
        {"results": [{**HYPERFINE, "exit_codes": [1.5]}]},
        "shell_hyperfine: exit_codes holds something that is no whole number",
    ),
    (
        "cpp_google",
        {"context": CONTEXT, "benchmarks": [{**GOOGLE, "time_unit": "min"}]},
        "cpp_google: time_unit 'min' is none of ps, ns, μs, µs, us, ms, s",
    ),
    ("cpp_google", {"context": {}, "benchmarks": [GOOGLE]}, "cpp_google: context.caches is not a list"),
    (
        "cpp_google",
        {"context": CONTEXT, "benchmarks": [{**GOOGLE, "real_time": 8e28}]},
        "cpp_google: real_time is beyond 7.92e+28",
    ),
    (
        "shell_hyperfine",
        {"results": [{**HYPERFINE, "mean": 1e300}]},
        "shell_hyperfine: a number is beyond a double once it is scaled",
    ),
    (
        "python_pytest",
        {"machine_info": {}, "commit_info": None, "benchmarks": [PYTEST]},
        "python_pytest: commit_info is not an object",
    ),
    (
        "java_jmh",
        [{**JMH, "primaryMetric": {"score": 1, "scoreConfidence": [1], "scoreUnit": "ns/op"}}],
        "java_jmh: scoreConfidence has to hold two numbers",
    ),
    (
        "c_sharp_dot_net",
        {"HostEnvironmentInfo": {}, "Benchmarks": [{"Namespace": "", "Method": "a", "Statistics": NET}]},
        "c_sharp_dot_net: a benchmark's name has to have 1 to 1024 bytes",
    ),
    (
        "js_vitest",
        {"files": [{"groups": [{"fullName": "a", "benchmarks": [{"name": "b", "hz": 1}]}]}]},
        "js_vitest: rme is not a number",
    ),
]


@pytest.mark.parametrize(("adapter", "document", "reason"), REFUSED)
def test_a_document_with_one_wrong_field_is_refused_and_the_field_is_named(
    adapter: str, document: Any, reason: str
) -> None:
    assert parse(Adapter(adapter), json.dumps(document)) == Mismatch(reason)


def test_documents_read_numbers_that_are_texts_or_short_of_decimals() -> None:
    rows = [GOOGLE, {**GOOGLE, "name": "b", "real_time": 1.234567890123e-25}]
    outcome = parse(Adapter.CPP_GOOGLE, json.dumps({"context": CONTEXT, "benchmarks": rows}))
    assert outcome == Results({"a": {"latency": Metric(1.5e6)}, "b": {"latency": Metric(1.235e-25 * 1000)}})


BMF = [
    ('{"a": {"b": {"value": 1}}, "a": {"c": {"value": 2}}}', {"a": {"c": Metric(2)}}),
    ('{"a": {"b": {"value": 1}, "b": {"value": 2}}}', {"a": {"b": Metric(2)}}),
    ('{"a": {"b": {"lower_value": 1, "value": 2, "note": [[]]}}}', {"a": {"b": Metric(2, 1)}}),
    ('{"a\\u0062": {"b": {"value": 1, "upper_value": null}}}', {"ab": {"b": Metric(1)}}),
    ('\ufeff \n{"a": {"b": {"value": 18446744073709551616}}}\n', {"a": {"b": Metric(2.0**64)}}),
    ('{"a": {"times": [1, 2, 3]}}', {"a": {"times": Metric(1, 2, 3)}}),
    ('{"a": {"b": {"value": -0.5e-3, "times": [1, 2, 3, 4]}}, "c": {}}', {"a": {"b": Metric(-0.0005)}, "c": {}}),
    ("{}", {}),
]


@pytest.mark.parametrize(("text", "benchmarks"), BMF)
def test_bmf_keeps_the_last_of_two_equal_keys(text: str, benchmarks: dict[str, dict[str, Metric]]) -> None:
    assert parse(Adapter.JSON, text) == Results(benchmarks, keys_are_names=False)


@pytest.mark.parametrize(
    "text",
    [
        '{"a": {"b": {"value": 1, "value": 2}}}',
        '{"a": {"b": {"value": 1, "val\\u0075e": 2}}}',
        '{"a": {"b": {"value": 1, "value": 2}}, "a": {}}',
        '{"a": {"b": {"value": "x"}}, "a": {"b": {"value": 1}}}',
        '{"a": {"b": {"value": 01}}}',
        '{"a": {"b": {"value": 1e400}}}',
        '{"a": {"b": {"value": NaN}}}',
        '{"a": {"b": {"value": 1}}} {}',
        '{"a": {"b": {"value": 1}},}',
        '{"a": {"b": {"value": 1}{"c": {"b": {"value": 1}}}',
        '{"a": {"b": {"value": 1}, "c" {"value": 1}}}',
        "",
    ],
)
def test_bmf_refuses_a_field_twice_and_what_is_no_json(text: str) -> None:
    assert isinstance(parse(Adapter.JSON, text), Mismatch)


def test_samples_are_checked_although_they_are_left_out() -> None:
    good, bad = ({"results": [{**HYPERFINE, "times": times}]} for times in ([0.1, 2e-3], [0.1, "x"]))
    latency = {"make": {"latency": Metric(0.5e9, 0.25e9, 0.75e9)}}
    assert parse(Adapter.SHELL_HYPERFINE, json.dumps(good)) == Results(latency)
    assert parse(Adapter.SHELL_HYPERFINE, json.dumps(bad)) == Mismatch(
        "shell_hyperfine: times holds something that is no number"
    )
    assert isinstance(parse(Adapter.SHELL_HYPERFINE, json.dumps(good).replace("0.002", "02")), Mismatch)


def test_a_key_of_samples_inside_a_command_is_part_of_the_command() -> None:
    command = 'echo "times": [1, 2]'
    outcome = parse(Adapter.SHELL_HYPERFINE, json.dumps({"results": [{**HYPERFINE, "command": command}]}))
    assert isinstance(outcome, Results)
    assert list(outcome.benchmarks) == [command]


AVERAGES = [
    ("rust_bench", "test a ... bench: 1 ns/iter (+/- 1)", [Average.MEDIAN]),
    ("rust_criterion", "a time: [1 ns 2 ns 3 ns]", [Average.MEAN]),
    ("go_bench", "A 1 2 ns/op", [Average.MEAN]),
    ("js_time", "a: 5ms", []),
    ("rust_gungraun", GUNGRAUN, []),
    ("json", '{"a": {}}', [Average.MEAN, Average.MEDIAN]),
]


@pytest.mark.parametrize(("adapter", "text", "given"), AVERAGES)
def test_a_format_steps_aside_when_it_has_not_the_average_that_is_asked_for(
    adapter: str, text: str, given: list[Average]
) -> None:
    assert [average for average in Average if isinstance(parse(Adapter(adapter), text, average), Results)] == given


def test_a_mixed_text_is_read_by_the_first_format_that_can() -> None:
    libtest, criterion = "test a ... bench: 1 ns/iter (+/- 1)\n", "b time: [1 ns 2 ns 3 ns]\n"
    assert parse(Adapter.MAGIC, criterion + libtest) == parse(Adapter.RUST_BENCH, libtest)
    assert parse(Adapter.MAGIC, libtest + criterion, Average.MEAN) == parse(Adapter.RUST_CRITERION, criterion)
    assert parse(Adapter.RUST, f"A 1 2 ns/op\n{libtest}") == parse(Adapter.RUST_BENCH, libtest)
    assert parse(Adapter.MAGIC, f"A 1 2 ns/op\n{libtest}") == parse(Adapter.GO_BENCH, "A 1 2 ns/op")
    assert parse(Adapter.MAGIC, f"done: 5ms\n{libtest}") == parse(Adapter.RUST_BENCH, libtest)


def test_the_api_stores_groups_as_magic_and_an_old_name_under_its_new_one() -> None:
    changed = {adapter: normalise(adapter) for adapter in Adapter if normalise(adapter) is not adapter}
    groups = ("c_sharp", "cpp", "dart", "go", "java", "js", "python", "ruby", "rust", "shell")
    assert changed == {
        **{Adapter(group): Adapter.MAGIC for group in groups},
        Adapter.RUST_IAI_CALLGRIND: Adapter.RUST_GUNGRAUN,
    }
