"""Tells a waiting call that its client has gone, without cancelling it: what it holds is put back in good order."""

from collections.abc import Callable


class Departure:
    """Set once, by whoever watches the connection; heard by whoever waits."""

    __slots__ = ("_hearer", "happened")

    def __init__(self) -> None:
        self.happened = False
        self._hearer: Callable[[], None] | None = None

    def then(self, hearer: Callable[[], None]) -> None:
        """Call `hearer`, and nobody else, when the client goes, or now if it has gone."""
        if self.happened:
            hearer()
        else:
            self._hearer = hearer

    def happen(self) -> None:
        """The client has gone."""
        self.happened = True
        hearer, self._hearer = self._hearer, None
        if hearer is not None:
            hearer()
