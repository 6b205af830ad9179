"""A container's output as the engine sends it, cut apart and kept within bounds. Pure: no I/O, no clock.

The engine sends frames: one byte of kind (1 stdout, 2 stderr), three of zero, four of length (big endian), the payload.
Source: Docker Engine API v1.41, "Attach to a container", stream format.
"""

from collections.abc import Iterator

from runner_protocol.results import CapturedText

STDOUT = 1
STDERR = 2
HEADER_BYTES = 8
# What a person looks at while a job runs: some twenty lines.
RECENT_BYTES_MAX = 2048
# The tail may run over by this much before it is cut back, so that not every small write moves all of it.
TAIL_SLACK_BYTES = 1 << 20
# Where a program says why it gives up.
END_BYTES = 4096


class Frames:
    """Cuts the engine's stream into (kind, bytes), however it was cut on the way here."""

    def __init__(self) -> None:
        self._header = b""
        self._kind = 0
        self._missing = 0

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """What these bytes bring: payloads whole or in part, in order."""
        at = 0
        while at < len(data):
            if not self._missing:
                at = self._read_header(data, at)
                continue
            payload = data[at : at + self._missing]
            at += len(payload)
            self._missing -= len(payload)
            yield self._kind, payload

    def _read_header(self, data: bytes, at: int) -> int:
        """Take what is there of a header; the place after it."""
        taken = data[at : at + HEADER_BYTES - len(self._header)]
        self._header += taken
        if len(self._header) == HEADER_BYTES:
            self._kind = self._header[0]
            self._missing = int.from_bytes(self._header[4:], "big")
            self._header = b""
        return at + len(taken)


class Capped:
    """The beginning and the end of a stream, together at most `bytes_max`; how much fell between them."""

    def __init__(self, bytes_max: int) -> None:
        self._head_max = bytes_max - bytes_max // 2
        self._tail_max = bytes_max // 2
        self._head = bytearray()
        self._tail = bytearray()
        self._dropped = 0

    def add(self, data: bytes) -> None:
        """Keep what fits."""
        room = self._head_max - len(self._head)
        if room:
            self._head += data[:room]
            data = data[room:]
        self._tail += data
        if len(self._tail) > self._tail_max + TAIL_SLACK_BYTES:
            self._cut()

    def text(self) -> CapturedText:
        """As text: what is not UTF-8 is replaced, and a mark says where and how much was cut."""
        self._cut()
        if not self._dropped:
            return CapturedText(text=(self._head + self._tail).decode(errors="replace"))
        mark = f"\n[… {self._dropped} bytes cut …]\n"
        text = self._head.decode(errors="replace") + mark + self._tail.decode(errors="replace")
        return CapturedText(text=text, dropped_bytes=self._dropped)

    def end(self) -> str:
        """The last few lines, without making text of all the rest."""
        return (self._head[-END_BYTES:] + self._tail[-END_BYTES:])[-END_BYTES:].decode(errors="replace")

    def _cut(self) -> None:
        excess = len(self._tail) - self._tail_max
        if excess > 0:
            del self._tail[:excess]
            self._dropped += excess


class Capture:
    """Both streams of one container, and their last lines as they came."""

    def __init__(self, bytes_max: int) -> None:
        self._frames = Frames()
        self._streams = {STDOUT: Capped(bytes_max), STDERR: Capped(bytes_max)}
        self._recent = b""

    def forget(self) -> None:
        """Let go of both streams."""
        self._streams.clear()

    def feed(self, data: bytes) -> None:
        """Take what the engine sent. Called from one thread; `recent` may be read from another."""
        for kind, payload in self._frames.feed(data):
            if kind in self._streams:
                self._streams[kind].add(payload)
                self._recent = (self._recent + payload)[-RECENT_BYTES_MAX:]

    @property
    def recent(self) -> str:
        """The last lines of both streams, from the first whole one."""
        recent = self._recent
        if len(recent) == RECENT_BYTES_MAX and b"\n" in recent[:-1]:
            recent = recent.split(b"\n", 1)[1]
        return recent.decode(errors="replace")

    @property
    def stdout(self) -> CapturedText:
        """Standard output, capped."""
        return self._streams[STDOUT].text()

    @property
    def stderr(self) -> CapturedText:
        """Standard error, capped."""
        return self._streams[STDERR].text()

    @property
    def stderr_end(self) -> str:
        """The last few lines of standard error."""
        return self._streams[STDERR].end()
