"""Fuzzes one parser with atheris: `python tests/server/adapters/fuzz.py ADAPTER SECONDS`, from the project's root.

Not part of the test run, and atheris is in no extra: install it by hand beside the project's own packages. The outputs
of the adapter are the first corpus; what atheris adds goes to a temporary folder.
"""

import math
import shutil
import sys
import tempfile
from pathlib import Path

import atheris  # type: ignore[import-untyped]

with atheris.instrument_imports(include=["server_stub"]):
    from server_stub.adapters import parse
    from server_stub.metrics import Adapter, Average, Mismatch

OUTPUTS = Path(__file__).parents[1] / "outputs"
INPUT_BYTES_MAX = 8192
AVERAGES = [None, *Average]


def check(adapter: Adapter, data: bytes) -> None:
    """Whatever the text, the answer is a line that says why not, or names and finite numbers."""
    average = AVERAGES[data[0] % len(AVERAGES)] if data else None
    outcome = parse(adapter, data[1:].decode(errors="replace"), average)
    if isinstance(outcome, Mismatch):
        assert outcome.reason
        assert "\n" not in outcome.reason
        return
    for name, measures in outcome.benchmarks.items():
        assert 0 < len(name.encode()) <= 1024
        for measure, metric in measures.items():
            assert 0 < len(measure.encode()) <= 64
            assert math.isfinite(metric.value)
            assert all(bound is None or math.isfinite(bound) for bound in metric[1:])


def main() -> None:
    """Fuzzes until the time is up or a check fails."""
    adapter, seconds = Adapter(sys.argv[1]), sys.argv[2]
    corpus = Path(tempfile.mkdtemp(prefix=f"fuzz-{adapter}-"))
    for file in OUTPUTS.glob(f"{adapter}/*"):
        if not file.name.endswith(".results.json"):
            (corpus / file.name).write_bytes(b"\0" + file.read_bytes()[:INPUT_BYTES_MAX])
    atheris.Setup(
        [sys.argv[0], f"-max_total_time={seconds}", f"-max_len={INPUT_BYTES_MAX}", "-timeout=10", str(corpus)],
        lambda data: check(adapter, data),
    )
    try:
        atheris.Fuzz()
    finally:
        shutil.rmtree(corpus)


if __name__ == "__main__":
    main()
