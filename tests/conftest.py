"""Real things that many tests share: a registry, and an image in it."""

import logging
from collections.abc import Generator, Iterator

import images
import leftovers
import pytest
import registry as registries
import structlog


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None]:
    """After the last test and all fixtures, nothing of this run may be left on the host; a run that left any fails."""
    yield
    if hasattr(session.config, "workerinput"):
        return  # The process that started the workers looks, when all of them are gone.
    factory: pytest.TempPathFactory = session.config._tmp_path_factory  # type: ignore[attr-defined]
    if found := leftovers.left_for_good(factory.getbasetemp()):
        print("\nleft on this host by the tests:", *found, sep="\n  ")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[registries.Registry]:
    """A real registry without a password."""
    with registries.serving(tmp_path_factory.mktemp("registry")) as serving:
        yield serving


@pytest.fixture(scope="session")
def bench_image(registry: registries.Registry) -> str:
    """The reference of a small image with a shell and perl, in the registry."""
    return registry.push("tests/bench", images.image(Cmd=["echo", "the image's own command"]))


@pytest.fixture
def logging_as_it_was() -> Iterator[None]:
    """What a test sets up of the programs' logging is undone after it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers, root.level = handlers, level
