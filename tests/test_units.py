"""The units are sound as systemd itself reads them, and as closed as the page for operators says."""

import json
import re
import subprocess
from decimal import Decimal
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
PAGE = (PROJECT / "docs/operations.md").read_text()
BUILD = (PROJECT / "packaging/build_deb.sh").read_text()
PROGRAMS = re.compile(r"/usr/bin/(runner-agent|server-stub)\b")


def analyze(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """What `systemd-analyze` says; it needs no systemd that runs."""
    return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, check=False)


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """All our units, the template that the package has among them; their programs are not installed here."""
    for unit in (PROJECT / "systemd").glob("*.s[el]*"):
        (tmp_path / unit.name).write_text(PROGRAMS.sub("/usr/bin/true", unit.read_text()))
    template = re.search(r"sed '(.*)' systemd/server-stub.service \|\n.*/usr/lib/systemd/system/(.*)\"\n", BUILD)
    assert template
    made = subprocess.check_output(["sed", template[1], PROJECT / "systemd/server-stub.service"], text=True)
    (tmp_path / template[2]).write_text(PROGRAMS.sub("/usr/bin/true", made))
    return tmp_path


def test_systemd_has_nothing_to_say_against_any_unit(units: Path) -> None:
    assert sorted(unit.name for unit in units.iterdir()) == [
        "bench.slice",
        "runner-agent.service",
        "server-stub.service",
        "server-stub@.service",
    ]
    said = analyze("verify", *units.iterdir())
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")


def test_a_mistake_in_a_unit_would_be_seen(units: Path) -> None:
    unit = units / "runner-agent.service"
    unit.write_text(unit.read_text().replace("WatchdogSec=60", "WatchdogSeconds=60"))
    assert "Unknown key 'WatchdogSeconds'" in analyze("verify", unit).stderr


@pytest.mark.parametrize("unit", ["runner-agent.service", "server-stub.service"])
def test_a_unit_is_as_closed_as_the_page_says(unit: str) -> None:
    said = analyze("security", "--offline=yes", "--no-pager", PROJECT / "systemd" / unit).stdout
    level = re.search(r"Overall exposure level for (\S+): (\S+)", said)
    assert level
    assert f"- `{level[1]}` {level[2]}\n" in PAGE


@pytest.mark.parametrize("unit", ["runner-agent.service", "server-stub.service"])
def test_a_unit_says_beside_its_lines_why_it_does_not_take_a_point(unit: str) -> None:
    said = json.loads(analyze("security", "--offline=yes", "--json=short", PROJECT / "systemd" / unit).stdout)
    words = {word for line in said if line["exposure"] for word in re.findall(r"(\w+)=", line["name"])}
    text = (PROJECT / "systemd" / unit).read_text()
    assert {word for word in words if f"{word}=" not in text} == set()


def test_the_page_has_a_reason_for_each_point_that_the_agent_does_not_take() -> None:
    agent = PROJECT / "systemd/runner-agent.service"
    said = json.loads(analyze("security", "--offline=yes", "--json=short", agent).stdout)
    missing = sum(Decimal(line["exposure"]) for line in said if line["exposure"])
    table = PAGE.partition("| not taken | points | because |")[2].partition("\n\n")[0]
    assert sum(Decimal(points) for points in re.findall(r"\| (\d\.\d) \|", table)) == missing
