"""docs/operations.md, typed word by word: two servers behind nginx on one PostgreSQL, three hosts, their first jobs,
the servers' upgrade and their end.

Four machines. Only what the page leaves to the reader is added: names, a free port for what the outside sees as 443,
and the files brought from machine to machine.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from host.operations_page import boxes, join_lines, section, steps
from host.vm import IMAGE, MADE_IMAGE, OUTSIDE, PROJECT, Doors, Machine, boot, free_port

pytestmark = pytest.mark.host

HOSTS = ("rack-1", "rack-2", "rack-3")
NAME = "bench.example.org"
BENCHMARK = """sleep 5; echo '{"hello": {"latency": {"value": 7}}}'"""
SUBMIT = f"server-stub submit --server https://{NAME} --adapter json --image {IMAGE} --project hello --wait --json"
ON_BENCH = "export SERVER_STUB_CONFIG=/etc/server-stub/config.toml; "
SERVERS = ("server-stub@61016", "server-stub@61017")


@contextmanager
def in_the_rack(packages: Path, name: str, https: int) -> Iterator[Machine]:
    """A host that finds the servers' machine by its name, with the agent's package in the working directory."""
    with boot(doors=Doors(reaches={443: https})) as host:
        host.sh(f"hostnamectl hostname {name}; printf '%s\\n' '127.0.0.1 {name}' '{OUTSIDE} {NAME}' >> /etc/hosts")
        (package,) = packages.glob("runner-agent_*.deb")
        host.push(package, f"/root/{package.name}")
        host.wait_for("docker info")
        host.sh(MADE_IMAGE)
        yield host


def write_figures(host: Machine) -> None:
    """The page's box; the folder is what node_exporter's package would bring."""
    (box,) = boxes(section("Watching"))
    host.sh(f"mkdir -p /var/lib/prometheus/node-exporter; set -e; {box}", within_s=600)
    file = "/var/lib/prometheus/node-exporter/runner-agent.prom"
    host.wait_for(f"""grep -Fx 'runner_agent_state{{state="idle"}} 1.0' {file}""")


def since_boot_us(machine: Machine, unit: str, moment: str) -> int:
    """When something happened to a unit, as systemd remembers it."""
    return int(machine.sh(f"systemctl show -P {moment}TimestampMonotonic {unit}"))


def upgrade_servers(bench: Machine) -> None:
    """The page's box, with the package that is there already: dpkg takes the same steps."""
    _, box = boxes(section("Upgrade"))
    typed = "sudo apt install ./server-stub_NEW_amd64.deb"
    assert typed in box
    show = f"systemctl show -P MainPID {' '.join(SERVERS)}"
    before = bench.sh(show).split()
    said = bench.sh(f"cd /root/checkout; set -e; {box.replace(typed, 'dpkg -i dist/server-stub_*.deb')}", within_s=900)
    assert said.count("ready\n") == 2
    after = bench.sh(show).split()
    assert "0" not in before + after
    assert not set(before) & set(after)
    first, second = SERVERS
    assert since_boot_us(bench, first, "ActiveEnter") <= since_boot_us(bench, second, "InactiveExit")


def purge_servers(bench: Machine) -> None:
    """Nothing is left but the database in PostgreSQL."""
    bench.sh("apt-get purge -y server-stub", within_s=600)
    links = "find /etc/systemd/system /usr/lib/systemd/system -name 'server-stub*'"
    left = (
        "pgrep -x server-stub; getent passwd server-stub; ls -d /opt/server-stub /etc/server-stub /var/lib/server-stub"
    )
    assert bench.run(f"{links}; {left}").out == ""


def test_a_newcomer_gets_a_fleet_of_two_servers_and_three_hosts(packages: Path, tmp_path: Path) -> None:
    https = free_port()
    _, database, servers, tls, runners, hosts, *_ = steps("A fleet, step by step")
    with ExitStack() as machines:
        bench = machines.enter_context(boot(doors=Doors(serves={443: https})))
        # Installing them would start them; they are part of this disk.
        bench.sh(f"systemctl enable --now postgresql nginx; echo 127.0.0.1 {NAME} >> /etc/hosts", within_s=300)
        bench.push(packages, "/root/checkout/dist")
        bench.push(PROJECT / "packaging", "/root/checkout/packaging")
        print(said := bench.sh(f"cd /root/checkout; set -e; {database}{servers}{tls}{runners}", within_s=900))
        assert said.count("ready\n") == 2
        assert '"version":"' in said
        joins = join_lines(said)
        assert set(joins) == set(HOSTS)

        bench.pull("/etc/nginx/bench.crt", tmp_path / "bench.crt")
        for name in HOSTS:
            host = machines.enter_context(in_the_rack(packages, name, https))
            host.push(tmp_path / "bench.crt", "/root/bench.crt")
            print(host.sh(f"cd /root; set -e; {hosts}{joins[name]}", within_s=900))
            assert host.sh("systemctl is-active runner-agent") == "active\n"
        listed = json.loads(bench.sh(f"{ON_BENCH} server-stub runner list --json"))
        assert {runner["slug"]: runner["state"] for runner in listed} == dict.fromkeys(HOSTS, "idle")

        each = f"SSL_CERT_FILE=/etc/nginx/bench.crt {SUBMIT} -- sh -c {json.dumps(BENCHMARK)}"
        bench.write("/root/submit", f"{each}\n")
        # All at once: nobody has the time to take two of them.
        bench.sh("for n in 1 2 3; do sh /root/submit >/root/ended.$n & done; wait", within_s=900)
        for number in (1, 2, 3):
            ended = json.loads(bench.sh(f"cat /root/ended.{number}"))
            assert ended["job"]["status"] == "processed"
            ((result,),) = ended["report"]["results"]
            assert 7.0 in [one["metric"]["value"] for one in result["measures"]]
        listed = json.loads(bench.sh(f"{ON_BENCH} server-stub job list --json"))
        assert sorted(job["runner_name"] for job in listed) == list(HOSTS)

        write_figures(host)
        upgrade_servers(bench)
        later = json.loads(bench.sh("sh /root/submit", within_s=900))
        assert later["job"]["status"] == "processed"
        purge_servers(bench)
