"""Machines for the tests of real hosts. They run only when asked for: `./dev test-host`, or `pytest -m host`."""

from collections.abc import Iterator

import pytest
from host.vm import Machine, boot


@pytest.fixture(scope="module")
def vm() -> Iterator[Machine]:
    """One machine for each file of tests. What a test changes on it, it puts back."""
    with boot() as machine:
        yield machine
