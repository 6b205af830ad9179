"""Placeholder while the real one is being written."""


class Notifier:
    """Says nothing."""

    watchdog_s: float | None = None

    @classmethod
    def from_environment(cls) -> "Notifier":
        """None."""
        return cls()

    def ready(self, status: str) -> None:
        """None."""

    def status(self, text: str) -> None:
        """None."""

    def watchdog(self) -> None:
        """None."""

    def stopping(self, status: str) -> None:
        """None."""

    def reloading(self) -> None:
        """None."""
