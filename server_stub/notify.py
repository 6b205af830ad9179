"""Tells systemd how the server is (sd_notify(3)): one datagram a message, and nothing where systemd did not start us.

A message that cannot be sent is dropped: systemd gives up on a unit that never says that it is ready.
"""

import os
import socket
from contextlib import suppress


def notify(*lines: str) -> None:
    """Such as `READY=1` and `STATUS=…`. Waits for nobody, so a signal's handler may call it."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as door:
        door.setblocking(False)
        door.sendto("\n".join(lines).encode(), "\0" + address[1:] if address.startswith("@") else address)
