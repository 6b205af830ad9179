"""Under systemd, a server says when it is ready and when it stops; the unit is `active` no sooner."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx


def test_a_server_is_ready_once_it_answers(tmp_path: Path) -> None:
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(address))
        systemd.settimeout(120)
        words = ["serve", "--port", "0", "--database", f"sqlite:///{tmp_path}/server.db"]
        environment = os.environ | {"NOTIFY_SOCKET": str(address)}
        with subprocess.Popen(
            [sys.executable, "-m", "server_stub", *words], env=environment, stdout=subprocess.DEVNULL
        ) as server:
            ready, status = systemd.recv(1024).decode().split("\n")
            url = status.removeprefix("STATUS=serving ")
            assert (ready, httpx.get(f"{url}/readyz", trust_env=False).status_code) == ("READY=1", 200)
            server.send_signal(signal.SIGTERM)
            assert systemd.recv(1024) == b"STOPPING=1"
        assert server.returncode == 0
