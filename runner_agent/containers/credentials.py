"""Who to be at a registry: the job's own short-lived credentials, else the host's Docker config and its helpers.

Never writes, caches or logs a secret. A job's credentials go to the registry that its image names, and to no mirror.
"""

import base64
import json
import shutil
from pathlib import Path
from typing import Any

from docker.auth import INDEX_URL, load_config
from docker.errors import DockerException

from runner_agent.containers.reference import DEFAULT_REGISTRY
from runner_protocol.jobs import RegistryAuth

ANONYMOUS: dict[str, str] = {}


class CredentialsError(Exception):
    """The host's Docker config or a credential helper does not work."""


def header(credentials: dict[str, str]) -> dict[str, str]:
    """As the engine wants them. Source: Docker Engine API v1.41, "Authentication"."""
    packed = base64.urlsafe_b64encode(json.dumps(credentials).encode()).decode()
    return {"X-Registry-Auth": packed}


def of_job(auth: RegistryAuth) -> dict[str, str]:
    """The job's own: a bearer token as it stands, or a name and a password."""
    if auth.token is not None:
        return {"registrytoken": auth.token.get_secret_value()}
    if auth.username is not None and auth.password is not None:
        return {"username": auth.username, "password": auth.password.get_secret_value()}
    return ANONYMOUS


def of_host(registry: str, config: Path | None) -> dict[str, str]:
    """The owner's, for this registry. Blocking: a helper is a program. Raises `CredentialsError`."""
    try:
        loaded = load_config(config_path=None if config is None else str(config))
        helper = loaded.get_credential_store(registry)
        if helper and not shutil.which(f"docker-credential-{helper}"):
            raise CredentialsError(f"docker-credential-{helper}, named in the host's Docker config, is not installed")
        found = loaded.resolve_authconfig(INDEX_URL if registry == DEFAULT_REGISTRY else registry)
    except (DockerException, OSError, ValueError) as error:
        raise CredentialsError(f"credentials for {registry} from the host's Docker config: {error}") from error
    return _plain(found or {})


def _plain(found: dict[str, Any]) -> dict[str, str]:
    """The fields that the engine knows, by its names."""
    names = {"Username": "username", "Password": "password", "IdentityToken": "identitytoken"}
    named = {names.get(key, key): value for key, value in found.items() if isinstance(value, str) and value}
    return {key: value for key, value in named.items() if key in names.values()}
