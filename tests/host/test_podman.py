"""The tests of jobs on a real engine, run inside the machine, with Podman where they look for Docker.

They are the very tests that Docker passes. What differs on Podman stands in docs/operations.md.
"""

import re
import shlex
from collections.abc import Iterator

import pytest
from host.operations_page import boxes, section
from host.vm import Machine, boot

pytestmark = pytest.mark.host

RUN, FILES = "tests/agent/test_containers_run.py", "tests/agent/test_containers_files.py"
PULL, HOSTILE = "tests/agent/test_containers_pull.py", "tests/agent/test_hostile_images.py"
NOPE = "entrypoint0-command_not_found-/bin/nope: No such file or directory"
# An emulated machine takes ten to forty seconds for each: all of hostile images, the core of the others.
CASES = (
    f"{RUN}::test_user_workdir_and_environment_are_the_images_with_the_jobs_on_top",
    f"{RUN}::test_an_end_that_is_not_good_says_how[exit 3-expected0]",
    f"{RUN}::test_a_command_that_never_began_has_no_exit_code[{NOPE}]",
    f"{RUN}::test_an_image_with_nothing_to_run_is_named_as_such",
    f"{RUN}::test_a_timeout_kills_everything_and_keeps_the_output",
    f"{RUN}::test_cancelling_leaves_no_container",
    f"{FILES}::test_a_missing_file_is_named_and_costs_neither_output_nor_the_other_files",
    f"{PULL}::test_by_tag_or_digest_the_digest_of_what_will_run_comes_back",
    f"{PULL}::test_a_password_is_the_jobs_own_or_the_hosts",
    f"{PULL}::test_a_wrong_digest_makes_the_image_invalid",
    HOSTILE,
)
# The registry of those tests has any free port.
INSECURE = """
[[registry]]
location = "127.0.0.1"
insecure = true
"""
# As Debian's package `podman-docker` does it.
INSTEAD_OF_DOCKER = "systemctl stop docker.socket docker.service && ln -sfn podman/podman.sock /run/docker.sock"


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """One on which whoever asks for Docker gets Podman."""
    with boot(request.param) as machine:
        machine.push_project()
        machine.write("/etc/containers/registries.conf.d/tests.conf", INSECURE)
        _, *commands = boxes(section("Podman"))[0].splitlines()  # Installed it is.
        for command in commands:
            machine.sh(command.replace("sudo ", ""))
        machine.sh(INSTEAD_OF_DOCKER)
        yield machine


def test_the_page_names_the_engines_that_are_met(machine: Machine) -> None:
    versions = machine.sh("dpkg-query -W -f '${Version}\\n' docker.io podman").split()
    docker, podman = (".".join(version.split(".")[:2]) for version in versions)
    assert f"Docker {docker} and Podman {podman} on Debian" in " ".join(section("Podman").split())


def test_the_core_of_the_tests_of_jobs_passes_on_podman(machine: Machine) -> None:
    cases = " ".join(shlex.quote(case) for case in CASES)
    ran = machine.run(f"cd /root/project && {machine.python} -m pytest --durations=0 {cases}", within_s=1800)
    print(ran.out)
    assert ran.code == 0, ran.out + ran.err
    assert re.search(r"= \d+ passed in ", ran.out), "something was skipped"
    # What a run's own mark finds on the engine it has looked for itself (tests/leftovers.py).
    assert machine.sh("podman ps -aq; podman images -q; podman volume ls -q") == ""
    machine.wait_for("! find /sys/fs/cgroup -name 'libpod*' | grep .")
