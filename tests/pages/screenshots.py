"""A picture of every page at three widths in both themes, into `docs/pictures/`; three of them are in the README."""

import sys
import tempfile
from io import BytesIO
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from pages import browser, scene
from PIL import Image
from processes import serving

FOLDER = Path(__file__).parents[2] / "docs" / "pictures"
WIDTHS = {"phone": 390, "laptop": 1280, "wide": 1920}
HEIGHT_MAX = {"phone": 2600, "laptop": 1240, "wide": 2600}
READY = "return document.querySelectorAll('#plot, #plot-legend button').length !== 1"
"""Once the plot, where there is one, is drawn."""


def main() -> None:
    """Make them all, or those whose name holds an argument."""
    wanted = sys.argv[1:]
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name, serving(Path(name), settings=scene.PATIENT) as server:
        found = scene.set_up(scene.Operator.of(server))
        pages = {
            "fleet": "/",
            "job-live": f"/jobs/{found.running['job']}",
            "job": f"/jobs/{found.finished['job']}",
            "job-failed": f"/jobs/{found.failed['job']}",
            "report": f"/reports/{found.alerted['uuid']}",
            "report-hostile": f"/reports/{found.hostile['uuid']}",
            "projects": "/projects",
            "project": "/projects/parsers",
            "login": "/login",
            "missing": "/projects/nothing-here",
            "plots": plots_of(found),
        }
        with browser.browsing(server.url, Path(name) / "profile") as chromium:
            for page, path in pages.items():
                if not wanted or any(one in page for one in wanted):
                    found.busy.beat(found.progress)
                    shoot(chromium, page, path)


def plots_of(found: scene.Scene) -> str:
    """The plots of the report with an alert."""
    report = found.alerted
    return f"/perf/parsers?branches={report['branch']['uuid']}&testbeds={report['testbed']['uuid']}&upper_boundary=true"


def shoot(chromium: browser.Browser, page: str, path: str) -> None:
    """One page, six pictures."""
    for theme in ("light", "dark"):
        chromium.prefer(theme)
        for name, width in WIDTHS.items():
            chromium.resize(width)
            chromium.open(path)
            height = min(HEIGHT_MAX[name], chromium.script("return document.documentElement.scrollHeight"))
            chromium.resize(width, max(height, 600))
            chromium.until(lambda: bool(chromium.script(READY)), "the plot is not drawn")
            picture = FOLDER / f"{page}-{name}-{theme}.png"
            image = Image.open(BytesIO(chromium.driver.get_screenshot_as_png()))
            image.convert("RGB").quantize(256).save(picture, optimize=True)
            print(picture.relative_to(FOLDER.parents[1]))


if __name__ == "__main__":
    main()
