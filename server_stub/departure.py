"""Tells a waiting call that its client has gone, without cancelling it: what it holds is put back in good order."""

from collections.abc import Callable


class Departure:
    """Set once, by whoever watches the connection; heard by whoever waits."""

    def __init__(self) -> None:
        self.happened = False
        self._hearers: list[Callable[[], None]] = []

    def then(self, hearer: Callable[[], None]) -> None:
        """Call `hearer` when the client goes, or now if it has gone."""
        if self.happened:
            hearer()
        else:
            self._hearers.append(hearer)

    def happen(self) -> None:
        """The client has gone."""
        self.happened = True
        while self._hearers:
            self._hearers.pop()()
