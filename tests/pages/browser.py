"""A real headless Chromium, with what a test asks of it. It may speak to nobody but the server under test."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from axe_selenium_python import Axe  # type: ignore[import-untyped]
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

WAIT_S_MAX = 90
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-prefers-reduced-motion",
    "--hide-scrollbars",
)


class Browser:
    """One browser that looks at one server."""

    def __init__(self, driver: webdriver.Chrome, url: str) -> None:
        self.driver = driver
        self.url = url

    def open(self, path: str) -> None:
        """Load a page of the server."""
        self.driver.get(self.url + path)

    def all(self, selector: str) -> list[WebElement]:
        """Elements by selector."""
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str) -> WebElement:
        """The first element, once it is there."""
        self.until(lambda: bool(self.all(selector)), f"there is no {selector}")
        return self.all(selector)[0]

    def text(self, selector: str = "main") -> str:
        """What a reader sees of an element."""
        return str(self.driver.execute_script("return document.querySelector(arguments[0]).innerText", selector))

    def until(self, true: Callable[[], bool], otherwise: str) -> None:
        """Wait for something on the page."""
        WebDriverWait(self.driver, WAIT_S_MAX, poll_frequency=0.05, ignored_exceptions=[Exception]).until(
            lambda _: true(), otherwise
        )

    def script(self, code: str, *arguments: Any) -> Any:
        """What a script in the page answers."""
        return self.driver.execute_script(code, *arguments)

    def resize(self, width: int, height: int = 900) -> None:
        """A screen of this size, narrower than any window may be."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def prefer(self, theme: str) -> None:
        """What the reader's system says about light and dark."""
        features = [{"name": "prefers-color-scheme", "value": theme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def forget(self) -> None:
        """A new visitor, with an ordinary screen."""
        self.driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
        self.resize(1280)
        self.prefer("light")
        self.complaints()

    def complaints(self) -> list[str]:
        """What the console has said since the last time of asking."""
        said = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        return [entry["message"] for entry in said if entry["level"] in ("WARNING", "SEVERE")]

    def strangers(self) -> list[str]:
        """Everything that this page has fetched from anywhere else."""
        names = self.script("return performance.getEntriesByType('resource').map(one => one.name)")
        return [name for name in names if not name.startswith(self.url + "/")]

    def barriers(self) -> list[str]:
        """What axe-core finds serious on this page."""
        axe = Axe(self.driver)
        axe.inject()
        found = axe.run()
        return [
            f"{one['id']}: {node['html'][:120]} {node.get('failureSummary', '')[:200]}"
            for one in found["violations"]
            if one["impact"] in ("serious", "critical")
            for node in one["nodes"]
        ]


@contextmanager
def browsing(url: str, profile: Path) -> Iterator[Browser]:
    """A browser for the length of the block."""
    options = Options()
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    try:
        yield Browser(driver, url)
    finally:
        driver.quit()
