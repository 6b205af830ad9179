"""Machines for the tests of real hosts. They run only when asked for: `./dev test-host`, or `pytest -m host`."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from host.vm import PROJECT, Machine, boot


@pytest.fixture(scope="module")
def vm() -> Iterator[Machine]:
    """One machine for each file of tests. What a test changes on it, it puts back."""
    with boot() as machine:
        yield machine


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both Debian packages of this checkout."""
    return packaged(tmp_path_factory.mktemp("packages"))


def packaged(into: Path, **changes: str) -> Path:
    """What `./dev package` builds, in a folder of its own. `changes`: variables of packaging/build_deb.sh."""
    variables = os.environ | {"DIST": str(into)} | changes
    subprocess.run([PROJECT / "dev", "package"], cwd=PROJECT, check=True, timeout=1200, env=variables)
    return into
