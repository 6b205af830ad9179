"""The record of what this host can do, as the last `calibrate` found it: kept as one JSON file. Measures nothing."""

from pathlib import Path

from pydantic import Field, ValidationError

from runner_agent.durable import write_durably
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

    def into(self, record: HostRecord) -> HostRecord:
        """The host's record with what reports need of this."""
        return record.model_copy(
            update={
                "epoch": self.epoch,
                "noise_floor": self.noise_floor,
                "minimum_detectable_effect": self.minimum_detectable_effect,
            }
        )


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
    return state_dir / FILE


# A host whose canaries are slower or faster than this, against its calibration, is another host by now.
DRIFT_MAX = 0.10


def drifted(calibration: Calibration, canary_ns: dict[str, float], host: HostRecord) -> list[str]:
    """How the host differs from its calibration; nothing: it does not. Pure."""
    pairs = (
        ("kernel", calibration.kernel, host.kernel),
        ("microcode", calibration.microcode, host.microcode),
    )
    lines = [f"{name}: {then} when calibrated, {now} now" for name, then, now in pairs if then and now and then != now]
    for name, then_ns in calibration.canary_ns.items():
        if (now_ns := canary_ns.get(name)) and abs(now_ns / then_ns - 1) > DRIFT_MAX:
            lines.append(f"{name} canary: {then_ns / 1e3:.0f} µs when calibrated, {now_ns / 1e3:.0f} µs now")
    return lines
