"""Image references: what each part is, and which are refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server_stub.images import ImageReference, parse_image
from server_stub.names import IdKind, NameId

SHA256 = "sha256:" + "0a" * 32
SHA512 = "sha512:" + "0a" * 64


def slug(text: str) -> NameId:
    return NameId(IdKind.SLUG, text)


@pytest.mark.parametrize(
    ("text", "image", "canonical"),
    [
        (
            "alpine:v1",
            ImageReference("docker.io", "library/alpine", "v1", None, slug("alpine")),
            "docker.io/library/alpine:v1",
        ),
        ("alpine", ImageReference("docker.io", "library/alpine", "latest", None, slug("alpine")), None),
        ("org/app", ImageReference("docker.io", "org/app", "latest", None, None), None),
        ("docker.io/app", ImageReference("docker.io", "library/app", "latest", None, slug("app")), None),
        ("localhost/app:2", ImageReference("localhost", "app", "2", None, slug("app")), None),
        (
            "127.0.0.1:5000/my-project:v1",
            ImageReference("127.0.0.1:5000", "my-project", "v1", None, slug("my-project")),
            "127.0.0.1:5000/my-project:v1",
        ),
        ("[::1]:5000/a/b", ImageReference("[::1]:5000", "a/b", "latest", None, None), None),
        ("ghcr.io/org/app:123", ImageReference("ghcr.io", "org/app", "123", None, None), "ghcr.io/org/app:123"),
        ("reg.example/a_b", ImageReference("reg.example", "a_b", "latest", None, None), None),
        (
            f"reg.example/app@{SHA256}",
            ImageReference("reg.example", "app", None, SHA256, slug("app")),
            f"reg.example/app@{SHA256}",
        ),
        (
            f"app:v1@{SHA512}",
            ImageReference("docker.io", "library/app", "v1", SHA512, slug("app")),
            f"docker.io/library/app:v1@{SHA512}",
        ),
        (
            "reg.example/67e55044-10b1-426f-9247-bb680e5fe0c8:x",
            ImageReference(
                "reg.example",
                "67e55044-10b1-426f-9247-bb680e5fe0c8",
                "x",
                None,
                NameId(IdKind.UUID, "67e55044-10b1-426f-9247-bb680e5fe0c8"),
            ),
            None,
        ),
    ],
)
def test_an_image_is_read_as_engines_read_it(text: str, image: ImageReference, canonical: str | None) -> None:
    assert parse_image(text) == image
    assert canonical in (None, str(image))


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "an image reference must have 1 to 1024 characters"),
        ("a" * 1025, "an image reference must have 1 to 1024 characters"),
        ("Alpine", "repository"),
        ("a//b", "repository"),
        ("a b", "repository"),
        ("/a", "repository"),
        (":v1", "repository"),
        ("reg.example/", "repository"),
        ("a" * 256, "repository"),
        ("reg.example:x/a", "registry"),
        ("-reg.example/a", "registry"),
        ("a:", "tag"),
        ("a:-x", "tag"),
        ("a:" + "x" * 129, "tag"),
        ("a@", "digest"),
        ("a@sha256:" + "0A" * 32, "digest"),
        ("a@sha512:" + "00" * 32, "digest"),
        ("a@md5:" + "00" * 16, "digest"),
    ],
)
def test_an_image_that_breaks_the_grammar_names_the_part(text: str, part: str) -> None:
    with pytest.raises(ValueError, match=part):
        parse_image(text)


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="ab.:/@-_1", max_size=20))
def test_the_canonical_form_is_read_back_as_the_same_image(text: str) -> None:
    try:
        image = parse_image(text)
    except ValueError:
        return
    again = parse_image(str(image))
    assert str(again) == str(image)
    assert (again.registry, again.repository) == (image.registry, image.repository)
