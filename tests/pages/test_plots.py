"""The page of plots in a real browser: what is drawn, how one looks around, what the address keeps, what is saved."""

import csv
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree as ET

import httpx
import pytest
from pages.browser import Browser
from pages.scene import Operator, bmf, job, run
from PIL import Image
from processes import wait_until
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from runner_protocol.messages import Progress
from runner_protocol.results import CapturedText, IterationRecord, Stage, Verdict, Word

HOSTILE = "<script>window.broken = 1</script>\u202e\u2067gnp.exe\u2069 🦀"
FORMULA = "=HYPERLINK(1)"
NAMES = ("parse", HOSTILE, FORMULA)
VERSIONS, ITERATIONS = 12, 2
THRESHOLD = {"test": "percentage", "max_sample_size": 64, "lower_boundary": 0.1, "upper_boundary": 0.1}

pytestmark = pytest.mark.xdist_group("pages")


def fill(url: str) -> None:
    """Versions that are alike, and a last one where `parse` got slower."""
    first = datetime(2026, 1, 1, tzinfo=UTC)
    for version in range(VERSIONS):
        at = (first + timedelta(days=version)).isoformat()
        slow = 1.5 if version == VERSIONS - 1 else 1.0
        values = {name: 1e6 * (place + 1) * (slow if not place else 1) for place, name in enumerate(NAMES)}
        result = json.dumps({name: {"latency": {"value": value}} for name, value in values.items()})
        body = {
            "project": "demo",
            "context": {"bencher.dev/v0/repo/name": "Demo"},
            "branch": "main",
            "testbed": "rack-7",
            "hash": f"{version:040x}",
            "start_time": at,
            "end_time": at,
            "results": [result] * ITERATIONS,
            "thresholds": {"models": {"latency": THRESHOLD}},
        }
        answer = httpx.post(f"{url}/v0/run", json=body, timeout=60)
        assert answer.status_code == 201, answer.text


def pin(operator: Operator) -> None:
    """A pinned plot of `parse` alone, by date, without the lower boundary."""

    def uuid_of(kind: str, name: str) -> list[str]:
        [found] = operator.ask("GET", f"projects/demo/{kind}?name={name}")
        return [found["uuid"]]

    edges = dict.fromkeys(("lower_value", "upper_value", "upper_boundary"), True) | {"lower_boundary": False}
    plot = {
        **edges,
        "title": HOSTILE,
        "x_axis": "date_time",
        "window": 10 * 365 * 86400,
        "branches": uuid_of("branches", "main"),
        "testbeds": uuid_of("testbeds", "rack-7"),
        "benchmarks": uuid_of("benchmarks", "parse"),
        "measures": uuid_of("measures", "Latency"),
    }
    operator.ask("POST", "projects/demo/plots", plot)


def run_a_job(operator: Operator) -> None:
    """A job of two iterations in the project `jobs`, the second one disturbed."""
    operator.spec("two")
    worker = operator.hand("two-1", "two")
    submitted = run(operator.server, "jobs", job=job(spec="two", iter=2))
    printed = CapturedText(text=bmf({"parse": 1e6}))
    records = [
        IterationRecord(number=number, exit_code=0, stdout=printed, verdict=Verdict(word=word))
        for number, word in enumerate((Word.QUIET, Word.DISTURBED))
    ]
    worker.claim()
    worker.beat(Progress(stage=Stage.ITERATE))
    worker.report(iterations=records, digest="sha256:" + "3f9a" * 16)
    path = f"projects/jobs/jobs/{submitted['job']}"
    wait_until(lambda: operator.ask("GET", path)["status"] == "processed", "the job is not processed")


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the browser saves."""
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def eyes(chromium: Browser, operator: Operator, downloads: Path) -> Browser:
    """The browser that looks at a history."""
    fill(operator.server.url)
    run_a_job(operator)
    pin(operator)
    behavior = {"behavior": "allow", "downloadPath": str(downloads)}
    chromium.driver.execute_cdp_cmd("Browser.setDownloadBehavior", behavior)
    return chromium


@pytest.fixture
def browser(eyes: Browser) -> Iterator[Browser]:
    """The same with the page as a newcomer sees it. In the end nobody has complained, and nothing came from outside."""
    eyes.forget()
    see(eyes, "/perf/demo")
    yield eyes
    assert eyes.complaints() == []
    assert eyes.strangers() == []
    assert eyes.script("return window.broken") is None


def see(browser: Browser, path: str) -> None:
    """Open the page and wait until it has drawn."""
    browser.open(path)
    browser.until(lambda: len(browser.all("#plot-legend button")) > 0, "nothing is drawn")


def address(browser: Browser) -> dict[str, str]:
    """The choice in the address."""
    return {name: values[0] for name, values in parse_qs(urlsplit(browser.driver.current_url).query).items()}


def press(browser: Browser, *keys: str) -> None:
    """Type while the plot is focused."""
    browser.script("document.getElementById('plot').focus()")
    ActionChains(browser.driver).send_keys(*keys).perform()


def zoomed(browser: Browser) -> tuple[float, float]:
    """The range that the address holds, once it does."""
    browser.until(lambda: "from" in address(browser), "the address holds no range")
    return float(address(browser)["from"]), float(address(browser)["to"])


def touch(browser: Browser, kind: str, *places: float) -> None:
    """Fingers on the plot, each so far from its left edge; its width is 1."""
    left, top, width = browser.script(
        "const box = document.querySelector('.u-over').getBoundingClientRect(); return [box.left, box.top, box.width]"
    )
    fingers = [{"id": number, "x": left + width * place, "y": top + 90} for number, place in enumerate(places)]
    browser.driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})


def saved(browser: Browser, downloads: Path, kind: str) -> bytes:
    """A file that the page saves."""
    path = downloads / f"perf.{kind}"
    browser.one(f"[data-save={kind}]").click()
    browser.until(lambda: path.exists() and path.stat().st_size > 0, f"no {kind} is saved")
    return path.read_bytes()


def colours(browser: Browser) -> int:
    """How many different colours the plot's canvas shows."""
    image = Image.open(BytesIO(browser.one("#plot").screenshot_as_png)).convert("RGB")
    return len(image.getcolors(1 << 24) or ())


def test_a_newcomer_sees_what_was_measured_last_and_the_address_says_what_it_is(browser: Browser) -> None:
    assert browser.text("#plot-title") == "Latency · main · rack-7"
    assert len(browser.all("#plot-legend button")) == len(NAMES)
    assert {"branches", "testbeds", "benchmarks", "measures", "lower_boundary", "upper_boundary"} <= set(
        address(browser)
    )
    assert colours(browser) > 50
    assert browser.barriers() == []


def test_hostile_names_are_text(browser: Browser) -> None:
    shown = [one.text for one in browser.all("fieldset[data-kind=benchmarks] bdi")]
    assert HOSTILE in shown
    press(browser, Keys.ARROW_DOWN, Keys.ARROW_RIGHT)
    assert any("<script>window.broken = 1</script>gnp.exe" in one.text for one in browser.all("#plot-legend bdi"))


def test_the_keyboard_walks_from_point_to_point_and_tells_commit_value_and_alert(browser: Browser) -> None:
    press(browser, Keys.ARROW_LEFT)
    said = browser.text("#plot-said")
    while "parse" not in said:
        press(browser, Keys.ARROW_DOWN)
        said = browser.text("#plot-said")
    press(browser, *[Keys.ARROW_RIGHT] * 3)
    last = browser.text("#plot-tip")
    assert "1.5 ms" in last
    assert f"Version {VERSIONS - 1} · commit {VERSIONS - 1:040x}"[:30] in last
    assert "above the upper boundary, active" in last
    press(browser, Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    assert (f"Version {VERSIONS - 2}" in browser.text("#plot-said"), "alert" in browser.text("#plot-said")) == (
        True,
        False,
    )


def test_a_point_says_how_quiet_its_host_was_and_which_image_ran(browser: Browser) -> None:
    see(browser, "/perf/jobs")
    press(browser, Keys.ARROW_RIGHT)
    browser.until(lambda: "Host while measuring: ✓ quiet" in browser.text("#plot-tip"), "the first is not quiet")
    press(browser, Keys.ARROW_RIGHT)
    browser.until(lambda: "Host while measuring: ▲ disturbed" in browser.text("#plot-tip"), "nor the second disturbed")
    assert "Image 3f9a3f9a3f9a" in browser.text("#plot-tip")


def test_the_pointer_shows_the_point_that_is_nearest(browser: Browser) -> None:
    assert browser.one("#plot-tip").get_attribute("hidden") is not None
    ActionChains(browser.driver).move_to_element(browser.one(".u-over")).perform()
    browser.until(lambda: browser.one("#plot-ring").is_displayed(), "no point is shown")
    assert re.search(r"Version [56] · commit 0", browser.text("#plot-tip"))


def test_the_keyboard_keeps_its_point_while_the_pointer_rests(browser: Browser) -> None:
    ActionChains(browser.driver).move_to_element(browser.one(".u-over")).perform()
    browser.until(lambda: browser.one("#plot-ring").is_displayed(), "no point is shown")
    pointed = re.findall(r"Version \d+", browser.text("#plot-tip"))
    press(browser, *[Keys.ARROW_RIGHT] * 3, "+")
    zoomed(browser)
    said = re.findall(r"Version \d+", browser.text("#plot-said"))
    assert re.findall(r"Version \d+", browser.text("#plot-tip")) == said != pointed


def test_a_zoom_is_in_the_address_and_the_address_brings_it_back(browser: Browser) -> None:
    ActionChains(browser.driver).drag_and_drop_by_offset(browser.one(".u-over"), 150, 0).perform()
    picked = zoomed(browser)
    assert 0 < picked[0] < picked[1] < VERSIONS
    see(browser, urlsplit(browser.driver.current_url).path + "?" + urlsplit(browser.driver.current_url).query)
    press(browser, "+")
    browser.until(lambda: zoomed(browser) != picked, "no nearer")
    nearer = zoomed(browser)
    assert picked[0] < nearer[0] < nearer[1] < picked[1]
    press(browser, "0")
    browser.until(lambda: "from" not in address(browser), "all is not shown again")


def test_two_fingers_zoom_and_one_moves(browser: Browser) -> None:
    last = VERSIONS - 1 + 0.8 / ITERATIONS
    whole = last * 1.04
    touch(browser, "touchStart", 0.4, 0.6)
    touch(browser, "touchMove", 0.3, 0.7)
    touch(browser, "touchEnd")
    stretched = zoomed(browser)
    assert stretched[1] - stretched[0] == pytest.approx(whole / 2, rel=0.02)
    assert sum(stretched) / 2 == pytest.approx(last / 2, rel=0.02)
    touch(browser, "touchStart", 0.5)
    touch(browser, "touchMove", 0.7)
    touch(browser, "touchEnd")
    browser.until(lambda: zoomed(browser) != stretched, "it does not move")
    moved = zoomed(browser)
    assert [moved[side] - stretched[side] for side in (0, 1)] == pytest.approx([-0.1 * whole] * 2, rel=0.05)


def test_a_permanent_link_restores_the_whole_choice(browser: Browser) -> None:
    chosen = [one for one in browser.all("fieldset[data-kind=benchmarks] label") if one.text != "parse"]
    for label in chosen:
        label.click()
    browser.until(lambda: len(browser.all("#plot-legend button")) == 1, "the others are still drawn")
    browser.script(
        "const set = (name, value) => { const one = document.forms.chooser.elements[name];"
        " one.value = value; one.dispatchEvent(new Event('change', {bubbles: true})); };"
        "set('x_axis', 'date_time'); set('y_axis', 'log');"
    )
    browser.one("[name=lower_boundary]").click()
    link, choice = browser.driver.current_url, address(browser)
    see(browser, "/perf/demo")
    browser.open(urlsplit(link).path + "?" + urlsplit(link).query)
    browser.until(lambda: browser.text("#plot-title") == "parse · Latency · main · rack-7", "the link leads elsewhere")
    assert address(browser) == choice
    assert (choice["x_axis"], choice["y_axis"], "lower_boundary" in choice) == ("date_time", "log", False)
    browser.until(lambda: len(browser.all("fieldset[data-kind=benchmarks] :checked")) == 1, "the chooser shows another")
    axes = browser.script("return ['x_axis', 'y_axis'].map((one) => document.forms.chooser.elements[one].value)")
    assert axes == ["date_time", "log"]


def test_the_link_that_a_client_prints_leads_to_its_choice(browser: Browser) -> None:
    choice = address(browser)
    benchmark = choice["benchmarks"].split(",")[0]
    link = "&".join(f"{name}={choice[name]}" for name in ("branches", "testbeds", "measures"))
    for path in ("/perf/demo", "/console/projects/demo/perf"):
        see(
            browser,
            f"{path}?{link}&benchmarks={benchmark}&heads=&specs=,&start_time=0&end_time=4102444800000&upper_boundary=true",
        )
        assert len(browser.all("#plot-legend button")) == 1
        assert browser.script("return document.forms.chooser.elements.upper_boundary.checked") is True


def test_a_pinned_plot_is_a_link_to_its_choice(browser: Browser) -> None:
    assert browser.text(".pinned") == HOSTILE
    browser.one(".pinned a").click()
    browser.until(lambda: browser.text("#plot-title") == "parse · Latency · main · rack-7", "it is not drawn")
    assert (address(browser)["x_axis"], "lower_boundary" in address(browser)) == ("date_time", False)


def test_the_search_of_the_chooser_finds_names(browser: Browser) -> None:
    field = browser.one("fieldset[data-kind=benchmarks] [type=search]")
    field.send_keys("nothing like it")
    browser.until(lambda: "No benchmarks with" in browser.text("#chooser"), "the search says nothing")


def test_the_files_hold_what_is_drawn(browser: Browser, downloads: Path) -> None:
    query = urlsplit(browser.driver.current_url).query
    see(browser, f"/perf/demo?{query.replace('y_axis=auto', 'y_axis=linear')}")
    rows = list(csv.DictReader(saved(browser, downloads, "csv").decode().splitlines()))
    assert len(rows) == VERSIONS * ITERATIONS * len(NAMES)
    slow = [row for row in rows if row["alert"]]
    assert [(row["benchmark"], row["value"], row["alert"], row["alert_status"]) for row in slow] == [
        ("parse", "1500000", "upper", "active")
    ] * ITERATIONS
    assert {row["benchmark"] for row in rows} == {"parse", HOSTILE, f"'{FORMULA}"}
    drawing = ET.fromstring(saved(browser, downloads, "svg").decode())
    texts = [one.text or "" for one in drawing.iter() if one.tag.endswith("text")]
    assert {"Latency · main · rack-7", "0 ns", "1 ms"} <= set(texts)
    assert any("<script>" in text for text in texts)
    image = Image.open(BytesIO(saved(browser, downloads, "png")))
    assert (image.format, len(image.convert("RGB").getcolors(1 << 24) or ()) > 50) == ("PNG", True)


def test_the_table_says_in_words_what_the_plot_shows(browser: Browser) -> None:
    browser.one("#plot-table summary").click()
    browser.until(lambda: len(browser.all("#plot-table tbody tr")) == VERSIONS * ITERATIONS * len(NAMES), "no table")
    rows = browser.text("#plot-table tbody")
    assert rows.count("alert: above the upper boundary, active") == ITERATIONS


def test_a_series_can_be_left_out_and_dark_and_narrow_look_right(browser: Browser) -> None:
    light = browser.one("#plot").screenshot_as_png
    browser.prefer("dark")
    browser.until(lambda: browser.one("#plot").screenshot_as_png != light, "the plot stays light")
    browser.resize(380)
    browser.until(lambda: browser.script("return document.documentElement.scrollWidth") <= 380, "it is too wide")
    browser.until(
        lambda: browser.script("return document.querySelector('.uplot').offsetWidth") <= 380, "it is too wide"
    )
    browser.all("#plot-legend button")[0].click()
    browser.until(lambda: address(browser).get("hidden") == "0", "the address does not say what is left out")
    assert browser.barriers() == []


def test_what_has_nothing_says_what_to_do(browser: Browser) -> None:
    answer = httpx.post(
        f"{browser.url}/v0/run",
        json={
            "project": "bare",
            "context": {},
            "results": [],
            "start_time": "2026-01-01T00:00:00Z",
            "end_time": "2026-01-01T00:00:00Z",
        },
        timeout=60,
    )
    assert answer.status_code == 201
    browser.open("/perf/bare")
    assert f"curl -s {browser.url}/v0/projects/bare/reports" in browser.text()
    see(browser, "/perf/demo")
    query = urlsplit(browser.driver.current_url).query
    browser.open(f"/perf/demo?{query}&end_time=1")
    browser.until(lambda: "Nothing was measured for this choice" in browser.text(), "the page says nothing")
