"""The pages in a real browser, over a real server with work going on."""

import gzip
import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import httpx
import pytest
from pages import scene
from pages.browser import Browser
from processes import Server

from runner_protocol.messages import Progress
from runner_protocol.results import Stage
from server_stub.pages.headers import POLICY

PATHS: dict[str, Callable[[scene.Scene], str]] = {
    "fleet": lambda _: "/",
    "a running job": lambda shown: f"/jobs/{shown.running['job']}",
    "a finished job": lambda shown: f"/jobs/{shown.finished['job']}",
    "a failed job": lambda shown: f"/jobs/{shown.failed['job']}",
    "a report": lambda shown: f"/reports/{shown.alerted['uuid']}",
    "a report with hostile names": lambda shown: f"/reports/{shown.hostile['uuid']}",
    "projects": lambda _: "/projects",
    "a project": lambda _: "/projects/parsers",
    "the login": lambda _: "/login",
    "nothing": lambda _: "/projects/nothing-here",
}
HTML = {"accept": "text/html"}
PAGE_BYTES_MAX = 300_000
ROWS = "return [...document.querySelectorAll('#runners tbody tr')].map(row => row.innerText)"
PAINTED = "return performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"

pytestmark = pytest.mark.xdist_group("pages")


@pytest.mark.parametrize("name", PATHS)
def test_a_page_is_whole_on_every_screen_and_open_to_everybody(browser: Browser, shown: scene.Scene, name: str) -> None:
    browser.open(PATHS[name](shown))
    assert browser.one("h1").is_displayed()
    for theme in ("light", "dark"):
        browser.prefer(theme)
        assert browser.barriers() == [], theme
    browser.resize(360)
    assert browser.script("return document.documentElement.scrollWidth") <= 360
    assert browser.strangers() == []
    failed = [one for one in browser.complaints() if "404" not in one or name != "nothing"]
    assert failed == []


def test_names_and_output_that_mean_harm_are_text(browser: Browser, shown: scene.Scene) -> None:
    browser.open(f"/reports/{shown.hostile['uuid']}")
    names = [cell.text for cell in browser.all("tbody th")]
    assert any("<script>window.broken = 1</script>" in name and "🦀" in name for name in names)
    assert any(name.startswith("very::long::xxx") for name in names)
    browser.open(f"/jobs/{shown.running['job']}")
    assert "<script>window.broken = 1</script>" in browser.text("#progress pre")
    assert browser.script("return window.broken ?? null") is None
    assert browser.complaints() == []


def test_a_running_job_is_followed_without_a_reload(browser: Browser, shown: scene.Scene) -> None:
    browser.open(f"/jobs/{shown.running['job']}")
    browser.script("window.same = true")
    for done in (11, 12):
        shown.busy.beat(Progress(stage=Stage.ITERATE, iteration=done, iterations=20, tail=f"sample {done}: 1.84 s"))
        said = f"iterate, iteration {done + 1} of 20"
        browser.until(lambda said=said: said in browser.text(), "the page does not follow")  # type: ignore[misc]
        assert browser.script("return document.querySelector('#progress progress').value") == done
        assert f"sample {done}: 1.84 s" in browser.text("#progress pre")
    assert browser.script("return window.same") is True
    browser.open("/")
    browser.script("window.same = true")
    shown.busy.beat(Progress(stage=Stage.ITERATE, iteration=13, iterations=20))
    browser.until(lambda: "14 of 20" in browser.text("#runners"), "the fleet does not follow")
    assert browser.script("return window.same") is True


def test_the_fleet_says_who_is_out_and_what_waits(browser: Browser, shown: scene.Scene) -> None:
    browser.open("/")
    rows = {text.split()[0]: text for text in browser.script(ROWS)}
    states = {"rack-7": "busy", "rack-8": "idle", "rack-9": "blocked", "rack-10": "drained", "rack-11": "never seen"}
    assert {name: state for name, state in states.items() if state in rows[name]} == states
    assert "partition-root" in rows["rack-7"]
    assert "0.41" in rows["rack-7"]
    assert browser.script("return document.querySelector('#runners polyline').getBoundingClientRect().width") > 10
    assert "new memory" not in browser.text(), "why is for operators"
    shown.operator.ask("POST", "runners/rack-10/resume")
    browser.until(lambda: "drained" not in browser.text("#runners"), "the fleet does not follow what operators do")
    shown.operator.ask("POST", "runners/rack-10/drain?reason=new+memory+on+Thursday")


def test_a_disturbed_iteration_says_why_when_pointed_at_and_when_focused(browser: Browser, shown: scene.Scene) -> None:
    browser.open(f"/jobs/{shown.finished['job']}")
    said = "another process ran on the benchmark's CPUs (apt-get)"
    disturbed = browser.one("svg .dot[tabindex]")
    browser.script("arguments[0].focus()", disturbed)
    assert said in browser.text(".tip")
    browser.script("document.activeElement.blur()")
    assert not browser.one(".tip").is_displayed()
    browser.script("arguments[0].dispatchEvent(new PointerEvent('pointerover', {bubbles: true}))", disturbed)
    assert said in browser.text(".tip")
    text = browser.text()
    for shown_too in ("1.036", "1.029", "1.044", "slower", "performance", "not permitted here", "sha256:3f9a"):
        assert shown_too in text


def test_a_waiting_job_is_canceled_tried_again_and_run_again(
    browser: Browser, server: Server, shown: scene.Scene
) -> None:
    submitted = scene.run(server, "steered", job=scene.job(spec="small"))
    browser.open(f"/jobs/{submitted['job']}")
    assert "Number 1 in the queue" in browser.text()
    for button, state in (("Cancel", "canceled"), ("Retry", "pending"), ("Cancel", "canceled")):
        press(browser, button)
        becomes(browser, state)
        assert state_of(server, submitted) == state
    press(browser, "Run again")
    browser.until(lambda: "/reports/" in browser.driver.current_url, "there is no new report")
    again = browser.driver.current_url.rpartition("/")[2]
    assert again != submitted["uuid"]
    becomes(browser, "pending")
    press(browser, "Cancel")
    becomes(browser, "canceled")


def becomes(browser: Browser, state: str) -> None:
    """Wait until the page says so."""
    browser.until(lambda: browser.text("#progress .state") == state, f"it is not {state}")


def state_of(server: Server, submitted: dict[str, Any]) -> str:
    """What the API says of a job."""
    answer = httpx.get(f"{server.url}/v0/projects/steered/jobs/{submitted['job']}", timeout=60)
    return str(answer.json()["status"])


def press(browser: Browser, name: str) -> None:
    """Press the button of that name, once it is there."""

    def pressed() -> bool:
        next(button for button in browser.all("main button") if button.text == name).click()
        return True

    browser.until(pressed, f"there is no button {name}")


def test_the_links_that_clients_print_lead_to_the_report(browser: Browser, server: Server, shown: scene.Scene) -> None:
    console = httpx.get(f"{server.url}/v0/server/config/console", timeout=60).json()["url"]
    assert console == f"{server.url}/"
    uuid = shown.alerted["uuid"]
    for path in (f"perf/parsers/reports/{uuid}", f"console/projects/parsers/reports/{uuid}"):
        browser.driver.get(console + path)
        assert browser.driver.current_url == f"{server.url}/reports/{uuid}"
        row = browser.one("tbody tr").text
        assert "parse::json" in row
        assert "Above its limit" in row
        assert "+2" in row


def test_a_token_logs_in_and_out_and_no_script_can_read_it(
    browser: Browser, server: Server, shown: scene.Scene
) -> None:
    scene.run(server, "hidden", {"a": 1.0})
    shown.operator.ask("PATCH", "projects/hidden", {"visibility": "private"})
    browser.open("/projects/hidden")
    assert "Nothing here" in browser.text()
    browser.one("main a[href^='/login']").click()
    log_in(browser, "wrong")
    assert browser.one("[role=alert]").is_displayed()
    log_in(browser, shown.operator.token)
    browser.until(lambda: browser.driver.current_url == f"{server.url}/projects/hidden", "the login leads elsewhere")
    assert "Ann" in browser.text("header")
    assert "bench_login" not in browser.script("return document.cookie")
    browser.open("/")
    assert "new memory on Thursday" in browser.text("#runners")
    browser.one("header form button").click()
    browser.until(lambda: "Log in" in browser.text("header"), "the log-out does nothing")
    browser.open("/projects/hidden")
    assert "Nothing here" in browser.text()


def log_in(browser: Browser, token: str) -> None:
    """Fill in the form and send it."""
    browser.one("#token").send_keys(token)
    browser.one("main form button").click()


def test_a_change_takes_a_form_of_ours(server: Server, shown: scene.Scene) -> None:
    submitted = scene.run(server, "steered", job=scene.job(spec="small"))
    path = f"{server.url}/jobs/{submitted['job']}/cancel"
    form = {"form_token": "x" * 32}
    refused = {
        "no token": httpx.post(path, timeout=60),
        "no cookie": httpx.post(path, data=form, timeout=60),
        "another token": httpx.post(path, data=form, cookies={"bench_form": "y" * 32}, timeout=60),
        "another site": httpx.post(
            path, data=form, cookies={"bench_form": "x" * 32}, headers={"origin": "https://evil.example"}, timeout=60
        ),
    }
    assert {name: answer.status_code for name, answer in refused.items()} == dict.fromkeys(refused, 403)
    done = httpx.post(path, data=form, cookies={"bench_form": "x" * 32}, headers={"origin": server.url}, timeout=60)
    assert (done.status_code, done.headers["location"]) == (303, f"/jobs/{submitted['job']}")


@pytest.mark.parametrize(("zone", "hours"), [("Asia/Tokyo", 9), ("America/Phoenix", -7)])
def test_times_are_in_the_zone_of_the_reader(browser: Browser, shown: scene.Scene, zone: str, hours: int) -> None:
    browser.driver.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": zone})
    browser.open(f"/reports/{shown.alerted['uuid']}")
    there = datetime.fromisoformat(shown.alerted["start_time"]).astimezone(timezone(timedelta(hours=hours)))
    seen = browser.text(".stats time").replace("\u202f", " ")
    browser.driver.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": ""})
    assert seen == there.strftime("%b %-d, %Y, %-I:%M %p")


def test_the_reader_chooses_a_theme_and_keeps_it(browser: Browser) -> None:
    browser.open("/projects")
    ground = "return getComputedStyle(document.documentElement).backgroundColor"
    light = browser.script(ground)
    browser.one("#theme").click()
    dark = browser.script(ground)
    assert dark != light
    browser.open("/login")
    assert browser.script(ground) == dark


def test_programs_find_the_api_where_browsers_find_the_fleet(server: Server) -> None:
    assert httpx.get(server.url, timeout=60).json() is None
    page = httpx.get(server.url, headers=HTML, timeout=60)
    assert page.headers["content-security-policy"] == POLICY
    assert "access-control-allow-origin" not in page.headers
    again = httpx.get(
        server.url, headers=HTML | {"if-none-match": page.headers["etag"], "cookie": "bench_form=x"}, timeout=60
    )
    assert again.status_code in (200, 304)


def test_a_page_is_small_and_soon_there(browser: Browser, server: Server, shown: scene.Scene) -> None:
    for name, path_of in PATHS.items():
        path = path_of(shown)
        page = httpx.get(server.url + path, headers=HTML, timeout=60).content
        names = set(re.findall(rb'(?:href|src)="(/assets/[^"]+)"', page))
        files = [httpx.get(server.url + one.decode(), timeout=60).content for one in names]
        size = sum(len(gzip.compress(one)) for one in (page, *files))
        browser.open(path)
        browser.until(lambda: browser.script(PAINTED) is not None, "nothing is painted")
        paint = browser.script(PAINTED)
        print(f"{name}: {size / 1024:.1f} KiB compressed with all its files, first paint after {paint} ms")
        assert size < PAGE_BYTES_MAX
