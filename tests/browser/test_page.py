"""The report's page in a real browser: it reads well in a narrow window, its curves react, and it asks no host.

Needs Debian's chromium and chromium-driver, and Selenium; `make browser-test` says what is missing.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from resnet_jax.reports.report import write_report
from resnet_jax.reports.runs import read_runs
from tests.reports.factory import write_run, write_study

webdriver = pytest.importorskip("selenium.webdriver")
BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (BROWSER and DRIVER), reason="chromium and chromedriver are not installed")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    write_study(folder / "runs")
    for seed in range(3):
        write_run(folder / "ablation", "resnet", 56, seed, 0.0, 0.02 + 0.001 * seed, run=f"a{seed}")
        changes = {"model.cut": ("stage2",)}
        write_run(folder / "ablation", "resnet", 56, seed, 0.01, 0.03, run=f"b{seed}", changes=changes)
    write_report(read_runs([folder / "runs"]), folder / "report")
    write_report(read_runs([folder / "ablation"]), folder / "report-of-ablation")
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


def open_page(browser: Any, file: Path, width: int = 1280, dark: bool = False) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    browser.get(file.as_uri())


@pytest.mark.parametrize("report", ["report", "report-of-ablation"])
@pytest.mark.parametrize("width", [1280, 400])
def test_only_tables_scroll_sideways(browser: Any, page: Path, report: str, width: int) -> None:
    open_page(browser, page / report / "report.html", width)
    wide, shown = browser.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
    assert wide <= shown
    size = browser.execute_script("return parseFloat(getComputedStyle(document.querySelector('.lead')).fontSize)")
    assert size > 16.0  # the answer is larger than the text


@pytest.mark.parametrize("dark", [False, True])
def test_text_stands_out_from_its_background(browser: Any, page: Path, dark: bool) -> None:
    open_page(browser, page / "report" / "report.html", dark=dark)
    colours = browser.execute_script(
        "const s = getComputedStyle(document.body);"
        "return [s.color, s.backgroundColor].map((c) => c.match(/\\d+/g).slice(0, 3).map(Number))"
    )

    def luminance(rgb: list[int]) -> float:
        """As WCAG 2.1 defines it."""
        linear = [c / 255 / 12.92 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in rgb]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted(map(luminance, colours))
    assert (high + 0.05) / (low + 0.05) > 7.0
    assert (luminance(colours[1]) < 0.1) == dark


def test_a_box_hides_its_curves_and_shows_them_again(browser: Any, page: Path) -> None:
    open_page(browser, page / "report" / "report.html")
    shown = "return [...document.querySelectorAll('.panels path[data-kind=train]')].map((p) => p.style.display)"
    assert set(browser.execute_script(shown)) == {""}
    (box,) = [label for label in browser.find_elements("css selector", ".toggles label") if "training" in label.text]
    box.click()
    assert set(browser.execute_script(shown)) == {"none"}
    box.click()
    assert set(browser.execute_script(shown)) == {""}


def test_the_pointer_reads_values(browser: Any, page: Path) -> None:
    open_page(browser, page / "report" / "report.html")
    panel = browser.find_element("css selector", ".panels svg")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", panel)
    webdriver.ActionChains(browser).move_to_element(panel).perform()
    text = browser.find_element("css selector", ".readout").text
    assert "iteration" in text
    assert "56 layers: running training error" in text


def test_links_lead_to_files_and_nothing_is_asked_of_a_host_or_goes_wrong(browser: Any, page: Path) -> None:
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    open_page(browser, page / "report" / "report.html")
    links = browser.execute_script("return [...document.querySelectorAll('a')].map((a) => a.href)")
    assert len(links) > 20
    assert all(Path(link.removeprefix("file://")).exists() for link in links)
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    sent = [
        entry["message"] for entry in browser.get_log("performance") if "Network.requestWillBeSent" in entry["message"]
    ]
    assert [message for message in sent if '"url":"http' in message] == []
