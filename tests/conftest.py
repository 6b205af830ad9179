"""Real things that many tests share: a registry, and an image in it."""

from collections.abc import Iterator

import images
import pytest
import registry as registries


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[registries.Registry]:
    """A real registry without a password."""
    with registries.serving(tmp_path_factory.mktemp("registry")) as serving:
        yield serving


@pytest.fixture(scope="session")
def bench_image(registry: registries.Registry) -> str:
    """The reference of a small image with a shell and perl, in the registry."""
    return registry.push("tests/bench", images.image(Cmd=["echo", "the image's own command"]))
