"""Where a setting may stand, which place wins, and how a wrong one is named."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from runner_agent.containers import EngineSettings
from runner_agent.errors import SettingFault
from runner_agent.preflight import Floors
from runner_agent.settings import EngineTable, GateTable, Settings, load, read_key

KEY = "bencher_runner_" + "Ab3" * 10


@pytest.fixture(autouse=True)
def _only_our_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(text)
    return path


def refused(path: Path | None, **flags: Any) -> str:
    with pytest.raises(SettingFault) as fault:
        load(path, flags)
    return str(fault.value)


def test_without_any_setting_the_defaults_hold() -> None:
    assert load().settings.model_dump() == Settings().model_dump()


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, 'server = "http://file"\nrunner = "file"\nwarm_ups = 3\n[gate]\nspool_bytes_max = 7\n')
    monkeypatch.setenv("RUNNER_AGENT_RUNNER", "variable")
    monkeypatch.setenv("RUNNER_AGENT_GATE__CLOCK_OFFSET_S_MAX", "2.5")
    loaded = load(path, {"server": "http://flag", "key_file": None})
    found = loaded.settings
    assert (found.server, found.runner, found.warm_ups) == ("http://flag", "variable", 3)
    assert (found.gate.spool_bytes_max, found.gate.clock_offset_s_max) == (7, 2.5)
    assert loaded.origins == {
        ("server",): "on the command line as --server",
        ("runner",): "in the variable RUNNER_AGENT_RUNNER",
        ("warm_ups",): f"in {path}",
        ("gate", "spool_bytes_max"): f"in {path}",
        ("gate", "clock_offset_s_max"): "in the variable RUNNER_AGENT_GATE__CLOCK_OFFSET_S_MAX",
    }


def test_the_file_may_be_named_by_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNNER_AGENT_CONFIG", str(written(tmp_path, 'runner = "r"')))
    assert load().settings.runner == "r"


def test_a_wrong_setting_is_named_with_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, 'poll_timeout_s = 901\nserver = "ftp://x"\n')
    monkeypatch.setenv("RUNNER_AGENT_DRAIN_S_MAX", "soon")
    lines = refused(path, warm_ups=-1).splitlines()
    assert [line.split(": ")[0] for line in sorted(lines)] == [
        "`drain_s_max` in the variable RUNNER_AGENT_DRAIN_S_MAX",
        f"`poll_timeout_s` in {path}",
        f"`server` in {path}",
        "`warm_ups` on the command line as --warm-ups",
    ]


def test_a_wrong_value_is_not_shown_since_it_may_be_a_secret_in_the_wrong_place(tmp_path: Path) -> None:
    assert KEY not in refused(written(tmp_path, f'poll_timeout_s = "{KEY}"'))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("poll_timeout = 5", "`poll_timeout` in {path}: there is no such setting; was `poll_timeout_s` meant?"),
        (
            "[gate]\nspool_max = 5",
            "`gate.spool_max` in {path}: there is no such setting; was `gate.spool_bytes_max` meant?",
        ),
        ("zebra = 5", "`zebra` in {path}: there is no such setting"),
        ("gate = 5", "`gate` in {path}: Input should be a valid dictionary or instance of GateTable"),
        ("server = ", "{path}: not TOML: Invalid value (at end of document)"),
    ],
)
def test_an_unknown_setting_is_refused_with_what_was_probably_meant(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    assert refused(path) == message.format(path=path)


def test_an_unknown_variable_is_refused_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNNER_AGENT_SERVR", "http://x")
    assert refused(None) == (
        "`servr` in the variable RUNNER_AGENT_SERVR: there is no such setting; was `server` meant?"
    )


def test_a_file_that_was_asked_for_must_be_there(tmp_path: Path) -> None:
    assert refused(tmp_path / "none.toml") == f"{tmp_path / 'none.toml'}: there is no such file"


def test_a_map_in_the_file_is_one_setting(tmp_path: Path) -> None:
    path = written(tmp_path, '[engine.sandboxes]\ngvisor = "runsc"\n')
    assert load(path).settings.engine.sandboxes == {"gvisor": "runsc"}


def test_the_tables_have_the_defaults_of_what_they_configure() -> None:
    terms = {field.name: field.default for field in fields(EngineSettings)}
    ours = EngineTable().model_dump()
    assert ours == {name: terms[name] for name in ours} | {"sandboxes": {}}
    assert Floors(**GateTable().model_dump()) == Floors()


def test_the_key_comes_from_its_file_or_from_the_credential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runner-key").write_text(KEY + "\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert read_key(None).get_secret_value() == KEY
    assert read_key(tmp_path / "runner-key").get_secret_value() == KEY


def test_a_key_that_is_none_is_refused_without_being_shown(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("hunter2")
    with pytest.raises(SettingFault) as fault:
        read_key(path)
    assert str(fault.value) == f"`key_file` {path}: not a runner's key (bencher_runner_ and 30 letters or digits)"
    with pytest.raises(SettingFault, match="No such file or directory"):
        read_key(tmp_path / "missing")
    with pytest.raises(SettingFault, match="there is no key"):
        read_key(None)
