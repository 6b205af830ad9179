"""One server with a fleet at work, and one browser, for all tests of pages."""

import shutil
from collections.abc import Iterator

import pytest
from pages import scene
from pages.browser import Browser, browsing
from processes import Server, serving


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real server process."""
    with serving(tmp_path_factory.mktemp("pages"), settings=scene.PATIENT) as server:
        yield server


@pytest.fixture(scope="session")
def operator(server: Server) -> scene.Operator:
    """Its administrator."""
    return scene.Operator.of(server)


@pytest.fixture(scope="session")
def shown(operator: scene.Operator) -> scene.Scene:
    """What there is to see."""
    return scene.set_up(operator)


@pytest.fixture(scope="session")
def chromium(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for the session."""
    profile = tmp_path_factory.mktemp("profile")
    with browsing(server.url, profile) as browser:
        yield browser
    shutil.rmtree(profile, ignore_errors=True)


@pytest.fixture
def browser(chromium: Browser) -> Browser:
    """The browser in the hands of a new visitor."""
    chromium.forget()
    return chromium
