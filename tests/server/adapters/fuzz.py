"""Fuzzes the parsers with atheris: `./dev fuzz [--minutes 10] [PARSER…]`, one after the other.

The minutes are of CPU, so that they are as long on a busy machine. Not part of the test run. Each parser has a process
of its own. Its outputs are the first corpus, and what atheris finds new is kept beside them in `.cache/fuzz/PARSER`, so
that the next time goes on from there. An input that breaks a promise is kept as `crash-…` in the same folder: mend the
parser and add the input to the tests. Documents are also changed as trees, since a text with a random byte in it hardly
ever is JSON.
"""

import argparse
import json
import math
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from importlib import import_module
from itertools import count
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, Final

import atheris  # type: ignore[import-not-found, import-untyped, unused-ignore]
import orjson

with atheris.instrument_imports(include=["server_stub"]):
    from server_stub import adapters
    from server_stub.adapters import EVERY, parse
    from server_stub.metrics import Adapter, Average, Mismatch

    # The package imports a format when a text needs it, which would be too late to see inside.
    for module in iter_modules(adapters.__path__, "server_stub.adapters."):
        import_module(module.name)

OUTPUTS: Final = Path(__file__).parents[1] / "outputs"
KEPT: Final = Path(__file__).parents[3] / ".cache" / "fuzz"
# Every format; `js_time` is Firefox's and Node's.
PARSERS: Final = (Adapter.MAGIC, *EVERY)
INPUT_BYTES_MAX: Final = 8192
# Of CPU, so that a busy or a stopped machine is no finding; such an input takes a millisecond.
PARSE_S_MAX: Final = 2.0
AVERAGES: Final = (None, *Average)
CHANGES_MAX: Final = 5
# What takes the place of a node in a document.
LEAVES: Final[tuple[Any, ...]] = (
    *(
        None,
        True,
        0,
        -1,
        1.5,
        1e308,
        -1e-300,
        2**63,
        10**30,
        "",
        "NaN",
        "1.5e3",
        "ns",
        "us/op",
        "ops/s",
        "é",
        "x" * 1025,
    ),
    *([], {}, [1, 2], {"value": 1}, {"Int": 1}, {"Both": [{"Int": 1}, {"Float": 2.5}]}, "None", "x" * 1025),
)


def try_out(adapter: Adapter, documents: list[str], data: bytes) -> None:
    """The first byte is the average; an odd one means that the rest is no text but says how to change a document."""
    head = data[0] if data else 0
    text = data[1:].decode(errors="replace")
    if head % 2 and documents:
        text = changed(documents[head // 16 % len(documents)], iter(data[1:]))
    check(adapter, text, AVERAGES[head // 2 % len(AVERAGES)])


def check(adapter: Adapter, text: str, average: Average | None) -> None:
    """Whatever the text, the answer comes soon and is a line that says why not, or names and finite numbers."""
    started = time.process_time()
    outcome = parse(adapter, text, average)
    assert time.process_time() - started < PARSE_S_MAX
    if isinstance(outcome, Mismatch):
        assert outcome.reason
        assert "\n" not in outcome.reason
        return
    for name, measures in outcome.benchmarks.items():
        assert 0 < len(name.encode(errors="replace")) <= 1024
        for measure, metric in measures.items():
            assert 0 < len(measure.encode(errors="replace")) <= 64
            assert all(part is None or math.isfinite(part) for part in metric.parts)


def change(document: Any, choices: Iterator[int]) -> None:
    """Walk down the document as the bytes say, and delete a node, or put a leaf or a copy of its sibling there."""
    node = document
    while node:
        keys = list(node) if isinstance(node, dict) else range(len(node))
        key = keys[next(choices) % len(keys)]
        how = next(choices)
        if isinstance(node[key], dict | list) and how < 192:
            node = node[key]
            continue
        match how % 4:
            case 0:
                del node[key]
            case 1:
                node[key] = deepcopy(node[keys[next(choices) % len(keys)]])
            case _:
                node[key] = deepcopy(LEAVES[next(choices) % len(LEAVES)])
        return


def changed(document: str, choices: Iterator[int]) -> str:
    """The document after some changes. A copy of a copy doubles it each time: so there are few."""
    tree = orjson.loads(document)
    with suppress(StopIteration):
        for _ in range(CHANGES_MAX):
            change(tree, choices)
    return json.dumps(tree)


def documents_of(adapter: Adapter) -> list[str]:
    """The JSON documents among the outputs of a parser, also those that are a line among others."""
    found = []
    for file in outputs_of(adapter):
        text = file.read_text(encoding="utf-8")
        for part in (text, *text.splitlines()):
            with suppress(orjson.JSONDecodeError):
                found += [part] if isinstance(orjson.loads(part), dict | list) else []
    return found


def outputs_of(adapter: Adapter) -> list[Path]:
    """The outputs of a parser; of all of them for `magic`."""
    stem = "*" if adapter is Adapter.MAGIC else adapter.removesuffix("_stdout").removesuffix("_json")
    return [file for file in sorted(OUTPUTS.glob(f"{stem}/*")) if not file.name.endswith(".results.json")]


def corpus_of(adapter: Adapter) -> Path:
    """The folder of inputs to begin with: the outputs of this parser (of all, for `magic`) and what was kept."""
    corpus = KEPT / adapter / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for file in outputs_of(adapter):
        (corpus / file.name).write_bytes(b"\0" + file.read_bytes()[: INPUT_BYTES_MAX - 1])
    return corpus


def fuzz_one(adapter: Adapter, seconds: int) -> None:
    """Fuzzes in this process until that CPU time is spent or a check fails. Does not return."""
    corpus, documents = corpus_of(adapter), documents_of(adapter)
    limits = [f"-max_len={INPUT_BYTES_MAX}", "-timeout=7200", "-rss_limit_mb=1024"]
    kept = f"-artifact_prefix={KEPT / adapter}/"
    numbers = count(1)

    def one(data: bytes) -> None:
        try_out(adapter, documents, data)
        tried = next(numbers)
        if time.process_time() > seconds:
            # The library has a limit of wall time only. What it found new is in its folder already.
            print(f"tried: {tried}", flush=True)
            os._exit(0)

    atheris.Setup([sys.argv[0], *limits, kept, str(corpus)], one)
    atheris.Fuzz()


def fuzz(adapter: Adapter, seconds: int) -> bool:
    """Fuzzes in a process of its own, says how many inputs were tried, and whether none of them broke a promise."""
    command = [sys.executable, __file__, "--here", str(seconds), adapter]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    tried = re.search(r"^tried: (\d+)", done.stdout, re.MULTILINE)
    ended = "nothing found" if done.returncode == 0 else "\n" + done.stdout[-4000:] + done.stderr[-1000:]
    print(f"{adapter:<24}{int(tried.group(1)) if tried else 0:>12,} inputs in {seconds} s of CPU: {ended}", flush=True)
    return done.returncode == 0


def main() -> None:
    """Ends with 1 when any parser broke a promise."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--minutes", type=float, default=10)
    arguments.add_argument("--here", type=int, help=argparse.SUPPRESS)
    arguments.add_argument("parsers", nargs="*", type=Adapter, default=PARSERS, metavar="PARSER")
    chosen = arguments.parse_args()
    if chosen.here:
        fuzz_one(chosen.parsers[0], chosen.here)
    sound = [fuzz(adapter, round(chosen.minutes * 60)) for adapter in chosen.parsers]
    sys.exit(not all(sound))


if __name__ == "__main__":
    main()
