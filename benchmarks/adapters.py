"""How fast outputs become results: whole processes, from the text of a file to JSON, in MB/s.

Makes files of 12 to 32 MB, reads each with `python -m server_stub.adapters`, and prints the best of some runs beside
the floor for the same bytes in this process: one bare regex pass for lines, `orjson.loads` for documents. On a
shared machine compare the last two columns, in MB for each second of CPU. `python benchmarks/adapters.py [RUNS]`.
"""

import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import orjson

MEGABYTE: Final = 1e6
ROWS: Final = 200_000


class Load(NamedTuple):
    """One file to read: the adapter that is named, how its text is made, and the pass that is its floor."""

    adapter: str
    text: Callable[[random.Random], str]
    floor: Callable[[str], object]


def libtest(chance: random.Random) -> str:
    """200,000 rows, 12.6 MB."""
    return "\nrunning 200000 tests\n" + "".join(
        f"test suite_{row % 97}::case_{row} ... bench: {chance.randrange(10_000):>7,} ns/iter (+/- {row % 999})\n"
        for row in range(ROWS)
    )


def criterion(chance: random.Random) -> str:
    """60,000 benchmarks with progress, change and outliers."""
    return "".join(_criterion(f"group_{row % 97}/case_{row}", chance.random() * 900) for row in range(60_000))


def _criterion(name: str, value: float) -> str:
    return (
        f"Benchmarking {name}\nBenchmarking {name}: Warming up for 3.0000 s\n"
        f"Benchmarking {name}: Collecting 100 samples in estimated 5.0002 s (1.2M iterations)\n"
        f"Benchmarking {name}: Analyzing\n"
        f"{name:<24}time:   [{value * 0.99:.4f} ns {value:.4f} ns {value * 1.01:.4f} ns]\n"
        f"{'':24}change: [-1.2345% +0.1234% +1.4567%] (p = 0.87 > 0.05)\n"
        f"{'':24}No change in performance detected.\n"
        "Found 7 outliers among 100 measurements (7.00%)\n  3 (3.00%) high mild\n  4 (4.00%) high severe\n\n"
    )


def go(chance: random.Random) -> str:
    """200,000 rows."""
    return "".join(
        f"BenchmarkCase/suite_{row % 97}/size_{row}-8   \t{chance.randrange(100, 9_999_999):>8}\t"
        f"{chance.random() * 10_000:>12.1f} ns/op\n"
        for row in range(ROWS)
    )


def bmf(chance: random.Random) -> str:
    """200,000 benchmarks of one measure."""
    keys = ("value", "lower_value", "upper_value")
    return json.dumps(
        {
            f"suite_{row % 97}::case_{row}": {"latency": {key: chance.random() * 1e5 for key in keys}}
            for row in range(ROWS)
        }
    )


def hyperfine(chance: random.Random) -> str:
    """800 commands of 1,000 runs."""
    return json.dumps({"results": [_hyperfine(f"sleep {row}", chance) for row in range(800)]}, indent=2)


def _hyperfine(command: str, chance: random.Random) -> dict[str, object]:
    summary = {key: chance.random() for key in ("mean", "stddev", "median", "user", "system", "min", "max")}
    return {"command": command, **summary, "times": [chance.random() for _ in range(1000)], "exit_codes": [0] * 1000}


def matching(pattern: str) -> Callable[[str], object]:
    """The floor of a line format: find every row, and count them."""
    row = re.compile(pattern, re.MULTILINE)
    return lambda text: sum(1 for _ in row.finditer(text))


LOADS: Final = (
    Load(
        "rust_bench", libtest, matching(r"\ntest +([^ \n]+) +\.\.\. +bench: +([0-9.,]+) +(ns)/iter +\(\+/- +(\d+)\)$")
    ),
    Load("rust_criterion", criterion, matching(r"time: +\[([0-9.]+) (ns) ([0-9.]+) (ns) ([0-9.]+) (ns)\]$")),
    Load("go_bench", go, matching(r"^([^ \n]+)[ \t]+([0-9,]+)[ \t]+([0-9.]+) (ns)/op$")),
    Load("json", bmf, orjson.loads),
    Load("shell_hyperfine", hyperfine, orjson.loads),
)


class Cost(NamedTuple):
    """The shortest of several runs, in seconds of the wall's clock and of CPU."""

    wall: float
    cpu: float


def cost(action: Callable[[], object], runs: int) -> Cost:
    """What an action costs, its child processes included."""

    def once() -> Cost:
        wall, cpu = time.perf_counter(), _cpu_seconds()
        action()
        return Cost(time.perf_counter() - wall, _cpu_seconds() - cpu)

    costs = [once() for _ in range(runs)]
    return Cost(min(cost.wall for cost in costs), min(cost.cpu for cost in costs))


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def read_file(adapter: str, path: Path) -> None:
    """One whole process, its results thrown away."""
    subprocess.run([sys.executable, "-m", "server_stub.adapters", adapter, path], check=True, stdout=subprocess.DEVNULL)


def lines(folder: Path, runs: int) -> Iterator[str]:
    """A line of the table for each load."""
    for load in LOADS:
        text = load.text(random.Random(1))
        path = folder / load.adapter
        path.write_text(text)
        size = path.stat().st_size / MEGABYTE
        named = cost(partial(read_file, load.adapter, path), runs)
        magic = cost(partial(read_file, "magic", path), runs)
        floor = cost(partial(load.floor, text), runs)
        speeds = (named.wall, magic.wall, floor.wall, named.cpu, floor.cpu)
        yield f"{load.adapter:<16}{size:>8.1f}" + "".join(f"{size / seconds:>10.1f}" for seconds in speeds)


def main() -> None:
    """Prints the table."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    print(f"{'adapter':<16}{'MB':>8}{'MB/s':>10}{'magic':>10}{'bare pass':>10}{'by CPU':>10}{'bare':>10}")
    with tempfile.TemporaryDirectory() as folder:
        for line in lines(Path(folder), runs):
            print(line, flush=True)


if __name__ == "__main__":
    main()
