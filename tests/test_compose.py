"""The fleet's servers as containers: compose.yaml says the same as the files beside it, and as the programs.

It is started by no test: images would have to come from a registry.
"""

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml  # type: ignore[import-untyped]  # It comes with uvicorn; its types are one package more for one file.
from typer.main import get_command

from server_stub.__main__ import app
from server_stub.settings import PREFIX, Settings

PROJECT = Path(__file__).resolve().parents[1]
FLEET = PROJECT / "packaging/fleet"
FILE = FLEET / "compose.yaml"
SERVICES: dict[str, Any] = yaml.safe_load(FILE.read_text())["services"]
SERVERS = {name: service for name, service in SERVICES.items() if name.startswith("server-")}
SITE = (FLEET / "nginx.conf").read_text()


def environment(service: str) -> dict[str, Any]:
    """A container's variables, with the password that `.env` would bring."""
    return {
        name: re.sub(r"\$\{\w+[^}]*\}", "secret", value) for name, value in SERVICES[service]["environment"].items()
    }


def settings(service: str) -> Settings:
    """What a server's container is told, read as the server reads it: an unknown name is refused."""
    return Settings(**{name.removeprefix(PREFIX).lower(): value for name, value in environment(service).items()})


@pytest.mark.parametrize("service", SERVERS)
def test_a_server_has_the_settings_of_the_file_beside_it(service: str) -> None:
    said = settings(service)
    beside = Settings(**tomllib.loads((FLEET / "server-stub.toml").read_text()))
    differ = {"database", "host"}
    assert said.model_dump(exclude=differ) == beside.model_dump(exclude=differ)
    there, here = urlsplit(said.database), urlsplit(beside.database)
    assert (there.scheme, there.username, there.path) == (here.scheme, here.username, here.path)


@pytest.mark.parametrize("service", SERVERS)
def test_a_server_is_started_by_words_that_it_takes(service: str) -> None:
    verb, *words = SERVICES[service]["command"]
    command = get_command(app).commands[verb]  # type: ignore[attr-defined]
    assert command.make_context(verb, words).params["host"] == "0.0.0.0"


def test_the_servers_image_installs_what_there_is() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    for service in SERVERS.values():
        recipe = service["build"]["dockerfile_inline"]
        (extras,) = re.findall(r"'/source\[([\w,]+)\]'", recipe)
        assert set(extras.split(",")) <= set(project["optional-dependencies"])
        assert re.search(r'ENTRYPOINT \["([\w-]+)"\]', recipe)[1] in project["scripts"]  # type: ignore[index]
        (python,) = re.findall(r"FROM python:([\d.]+)-slim", recipe)
        assert python in (PROJECT / "packaging/build_deb.sh").read_text()
        assert (FLEET / service["build"]["context"]).resolve() == PROJECT


def test_the_database_is_the_one_that_the_servers_ask() -> None:
    database, wanted = environment("postgresql"), urlsplit(settings("server-1").database)
    assert database["POSTGRES_USER"] == wanted.username
    assert database["POSTGRES_PASSWORD"] == wanted.password
    assert f"/{database['POSTGRES_DB']}" == wanted.path
    assert wanted.hostname in SERVICES
    assert SERVICES["postgresql"]["healthcheck"]["test"] == ["CMD", "pg_isready", "-U", wanted.username]


def test_nginx_finds_every_server_and_its_certificate() -> None:
    nginx = SERVICES["nginx"]
    (edit,) = re.findall(r"sed '(.*)' /site.conf", nginx["command"][-1])
    site = subprocess.run(["sed", edit], input=SITE, capture_output=True, text=True, check=True).stdout
    upstream = re.findall(r"^    server (\S+);", site, re.MULTILINE)
    assert sorted(upstream) == sorted(f"{name}:{settings(name).port}" for name in SERVERS)
    mounted = {target: source for source, target, _ in (volume.split(":") for volume in nginx["volumes"])}
    assert (FLEET / mounted["/site.conf"]).exists()
    assert set(re.findall(r"ssl_certificate\w* (\S+);", site)) < set(mounted)
    assert f"listen {nginx['ports'][0].partition(':')[2]} ssl" in site


def test_what_a_container_waits_for_is_there() -> None:
    waits = {name: service.get("depends_on", []) for name, service in SERVICES.items()}
    assert {other for others in waits.values() for other in others} <= set(SERVICES)
    assert all(
        "healthcheck" in SERVICES[other] for others in waits.values() if isinstance(others, dict) for other in others
    )
