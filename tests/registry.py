"""A real registry (Debian's `docker-registry`) on a free loopback port, with or without a password, for one block."""

import contextlib
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import docker
import httpx
import images
from docker.errors import DockerException

CONFIG_FILE = "docker-registry.yml"
USER, PASSWORD = "bench", "open-sesame"
# `htpasswd -nbB -C 4 bench open-sesame`
HTPASSWD = "bench:$2y$04$tcQPZzNitJhj/qmr.WqmueEdYBLnBy5CGcrY1E5hG61d7Wvhgcby6"
CONFIG = """
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {root}}}, cache: {{blobdescriptor: inmemory}}}}
http: {{addr: "{host}"{tls}}}
"""
AUTH = """
auth: {{htpasswd: {{realm: tests, path: {path}}}}}
"""
START_S_MAX = 20.0


@dataclass(frozen=True)
class Registry:
    """A registry that answers."""

    host: str
    """`127.0.0.1:port`."""
    credentials: tuple[str, str] | None = None
    certificate: Path | None = None

    def push(self, name: str, image: images.OciImage, tag: str = "latest") -> str:
        """Store an image; its whole reference by tag."""
        for blob in image.blobs:
            self.push_blob(name, blob)
        return self.push_manifest(name, tag, image.manifest, images.MANIFEST)

    def push_index(self, name: str, tag: str, *platforms: images.OciImage) -> str:
        """Store an index over images of several platforms; its whole reference."""
        for image in platforms:
            self.push(name, image, tag=image.architecture)
        return self.push_manifest(name, tag, images.index(*platforms), images.INDEX)

    def push_manifest(self, name: str, tag: str, manifest: bytes, media_type: str) -> str:
        """Store a manifest whose blobs are there."""
        with self._client() as client:
            headers = {"Content-Type": media_type}
            client.put(f"/v2/{name}/manifests/{tag}", content=manifest, headers=headers).raise_for_status()
        return f"{self.host}/{name}:{tag}"

    def push_blob(self, name: str, blob: bytes) -> None:
        """Store a blob under its own digest."""
        with self._client() as client:
            if client.head(f"/v2/{name}/blobs/{images.digest(blob)}").is_success:
                return
            where = client.post(f"/v2/{name}/blobs/uploads/").raise_for_status().headers["Location"]
            url = httpx.URL(where).copy_add_param("digest", images.digest(blob))
            client.put(url, content=blob).raise_for_status()

    def _client(self) -> httpx.Client:
        verify = ssl.create_default_context(cafile=f"{self.certificate}.crt") if self.certificate else False
        scheme = "https" if self.certificate else "http"
        return httpx.Client(
            base_url=f"{scheme}://{self.host}", auth=self.credentials, timeout=30, trust_env=False, verify=verify
        )


@contextlib.contextmanager
def serving(
    folder: Path, *, password: bool = False, address: str = "127.0.0.1", certificate: Path | None = None
) -> Iterator[Registry]:
    """A registry that keeps its data in `folder`, until the end of the block; over TLS with a certificate's files."""
    host = f"{address}:{free_port(address)}"
    tls = f", tls: {{certificate: {certificate}.crt, key: {certificate}.key}}" if certificate else ""
    text = CONFIG.format(root=folder / "data", host=host, tls=tls)
    if password:
        (folder / "htpasswd").write_text(HTPASSWD + "\n")
        text += AUTH.format(path=folder / "htpasswd")
    config = folder / CONFIG_FILE
    config.write_text(text)
    with (folder / "registry.log").open("wb") as said:
        process = subprocess.Popen(["docker-registry", "serve", str(config)], stdout=said, stderr=said)
    try:
        _await_answer(host, process)
        yield Registry(host, (USER, PASSWORD) if password else None, certificate)
    finally:
        process.kill()
        process.wait()
        forget(host)


def forget(host: str) -> None:
    """Remove from the engine what tests pulled from this host. Where no engine answers, none was pulled."""
    with contextlib.suppress(DockerException), contextlib.closing(docker.APIClient(timeout=60)) as client:
        # Podman lets go of one name at a time: an image that was pulled by tag and by digest has two.
        for _ in range(2):
            for image in client.images(all=True):
                for name in image.get("RepoDigests") or []:
                    if name.startswith(f"{host}/"):
                        client.remove_image(name, force=True)


def free_port(address: str = "127.0.0.1") -> int:
    """A port of this machine that nobody has at this moment."""
    with socket.socket() as found:
        found.bind((address, 0))
        return int(found.getsockname()[1])


def _await_answer(host: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START_S_MAX
    address, _, port = host.partition(":")
    while process.poll() is None and time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection((address, int(port)), timeout=1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"docker-registry does not answer on {host}; it ended with {process.poll()}")
