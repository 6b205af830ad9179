"""Async tests of the agent run on asyncio, as the agent does."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
