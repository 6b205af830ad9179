"""The record of what this host can do, as the last `calibrate` found it: kept as one JSON file. Measures nothing."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, median, stdev

from pydantic import Field, ValidationError

from runner_agent.durable import write_durably
from runner_agent.pairs import compared
from runner_protocol.results import HostRecord
from runner_protocol.wire import Message

FILE = "calibration.json"


class GapRecord(Message):
    """What a loop that does nothing but look at the clock found on one CPU."""

    cpu: int
    stolen_ppm: float
    """Time in gaps, in millionths of all time."""
    longest_us: float
    gaps_per_s: float


class Calibration(Message):
    """One calibrated state of the host."""

    epoch: str
    """Names this state; results of different epochs are not compared."""
    taken: str
    """ISO 8601, UTC."""
    boot_id: str | None = None
    kernel: str | None = None
    microcode: str | None = None
    canary_ns: dict[str, float] = Field(default_factory=dict)
    """What each canary usually takes."""
    gaps: list[GapRecord] = Field(default_factory=list)
    noise_floor: float
    """Coefficient of variation of fixed work on a benchmark CPU."""
    error_95: float
    """95 % of the A/A comparisons were off by at most this, as a fraction."""
    minimum_detectable_effect: float
    """Of a comparison with 30 pairs, as a fraction."""
    samples_ns: list[int] = Field(default_factory=list)
    """Of the fixed work, in the order in which they were taken."""
    isolation: str | None = None
    """The level that was in force."""

    @property
    def ratios(self) -> list[float]:
        """Of each sample to the one that followed it, pair by pair: A against A."""
        return pair_ratios(self.samples_ns)

    def into(self, record: HostRecord, drift: Sequence[str]) -> HostRecord:
        """The host's record with what reports need of this."""
        return record.model_copy(
            update={
                "epoch": self.epoch,
                "noise_floor": self.noise_floor,
                "minimum_detectable_effect": self.minimum_detectable_effect,
                "drift": [*changed(self, record), *drift],
            }
        )


# What ticks, firmware and a fair hypervisor take is far less.
BUSY_PPM_MIN = 50_000


def doubt(calibration: Calibration) -> str | None:
    """Why this calibration should be taken again: somebody else was at work meanwhile. Pure."""
    busy = [
        f"{gap.stolen_ppm / 1e4:.0f} % of CPU {gap.cpu}" for gap in calibration.gaps if gap.stolen_ppm > BUSY_PPM_MIN
    ]
    return f"others used {', '.join(busy)} meanwhile: calibrate again when this host is idle" if busy else None


PAIRS = 30
"""Of one self-test: as many as a careful comparison takes."""


class SelfTest(Message):
    """What comparisons of the same work with itself came to."""

    noise_floor: float
    error_95: float
    minimum_detectable_effect: float


def self_test(samples_ns: Sequence[int]) -> SelfTest:
    """A against A, `PAIRS` pairs at a time. Raises `ValueError` where there are too few samples for one."""
    ratios = pair_ratios(samples_ns)
    tests = [compared(ratios[place : place + PAIRS]) for place in range(0, len(ratios) - PAIRS + 1, PAIRS)]
    if not tests:
        raise ValueError(f"{len(ratios)} pairs are too few for a self-test of {PAIRS}")
    errors = sorted(abs(test.ratio - 1) for test in tests)
    return SelfTest(
        noise_floor=stdev(samples_ns) / fmean(samples_ns),
        error_95=errors[math.ceil(0.95 * len(errors)) - 1],
        minimum_detectable_effect=median(test.minimum_detectable_effect or 0.0 for test in tests),
    )


def pair_ratios(samples_ns: Sequence[int]) -> list[float]:
    """Of each sample to the one that followed it."""
    return [one / two for one, two in zip(samples_ns[::2], samples_ns[1::2], strict=False)]


def epoch_of(*parts: str | None) -> str:
    """A name for one state of a host: twelve digits of a hash over what makes it this state."""
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:12]


def load(state_dir: Path) -> Calibration | None:
    """The last calibration; none where there is none, or where it cannot be read any more."""
    try:
        return Calibration.model_validate_json((state_dir / FILE).read_bytes())
    except (OSError, ValidationError):
        return None


def save(state_dir: Path, calibration: Calibration) -> Path:
    """Keep it, whole or not at all."""
    state_dir.mkdir(parents=True, exist_ok=True)
    write_durably(state_dir / FILE, calibration.model_dump_json(indent=1).encode())
    (state_dir / DRIFT_FILE).unlink(missing_ok=True)
    return state_dir / FILE


DRIFT_FILE = "drift.json"
# A host whose canaries are slower or faster than this, against its calibration, is another host by now.
DRIFT_MAX = 0.10


def save_drift(state_dir: Path, lines: Sequence[str]) -> None:
    """What the last job's canaries said; for reports, and for whoever asks between jobs."""
    state_dir.mkdir(parents=True, exist_ok=True)
    (state_dir / DRIFT_FILE).write_text(json.dumps(lines))


def load_drift(state_dir: Path) -> list[str]:
    """How the host was last found to differ from its calibration; nothing: it did not, or nobody knows."""
    try:
        lines = json.loads((state_dir / DRIFT_FILE).read_text())
    except (OSError, ValueError):
        return []
    return [str(line) for line in lines] if isinstance(lines, list) else []


def changed(calibration: Calibration, host: HostRecord) -> list[str]:
    """What has been exchanged since the calibration. Pure."""
    pairs = (
        ("kernel", calibration.kernel, host.kernel),
        ("microcode", calibration.microcode, host.microcode),
    )
    return [f"{name}: {then} when calibrated, {now} now" for name, then, now in pairs if then and now and then != now]


def drifted(calibration: Calibration, canary_ns: Mapping[str, float]) -> list[str]:
    """How the host's speed differs from its calibration; nothing: it does not. Pure.

    Not by its disk: that differs by more from one hour to the next.
    """
    return [
        f"{name} canary: {then_ns / 1e3:.0f} µs when calibrated, {now_ns / 1e3:.0f} µs now"
        for name, then_ns in calibration.canary_ns.items()
        if name != "disk" and (now_ns := canary_ns.get(name)) and abs(now_ns / then_ns - 1) > DRIFT_MAX
    ]
