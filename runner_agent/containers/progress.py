"""How far a pull is, from the engine's progress events. Pure."""

from collections.abc import Mapping
from typing import Any

MEBIBYTE = 1 << 20
# An engine may name any number of layers; the registry's format has no bound, and real images stay below a hundred.
LAYERS_MAX = 1000
DONE = frozenset({"Download complete", "Pull complete", "Already exists", "Verifying Checksum", "Extracting"})


class PullMeter:
    """Adds up the layers of one pull."""

    def __init__(self) -> None:
        self._current: dict[str, int] = {}
        self._total: dict[str, int] = {}
        self.error: str | None = None
        """The engine's last word, where the pull failed."""

    def feed(self, event: Mapping[str, Any]) -> None:
        """Take one event. What it does not know it passes over."""
        if "error" in event:
            self.error = str(event["error"])
        layer, status = str(event.get("id", "")), event.get("status")
        detail = event.get("progressDetail") or {}
        if status == "Downloading" and detail.get("total") and len(self._total) < LAYERS_MAX:
            self._total[layer] = int(detail["total"])
            self._current[layer] = int(detail.get("current", 0))
        elif status in DONE and layer in self._total:
            self._current[layer] = self._total[layer]

    @property
    def total_bytes(self) -> int:
        """Compressed bytes of all layers that are known so far."""
        return sum(self._total.values())

    @property
    def fraction(self) -> float | None:
        """Of the known bytes that have arrived; none before the first is known."""
        return sum(self._current.values()) / self.total_bytes if self.total_bytes else None

    @property
    def line(self) -> str:
        """For a person."""
        if not self.total_bytes:
            return "asking the registry"
        arrived = sum(self._current.values())
        return f"{arrived / MEBIBYTE:.1f} of {self.total_bytes / MEBIBYTE:.1f} MiB in {len(self._total)} layers"
