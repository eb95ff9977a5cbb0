"""The site in a real browser: by clicks and keys, in both themes, and without JavaScript."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from reports.build import build
from reports.site import grid
from tests.reports.browser import chromium, console, findings, requests, scheme
from tests.reports.records import FLOAT, HOSTILE, hostile, material, measurement

MADE = material()
FLOAT_PAGE = "models/mobilenetv2.html"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grid, "ROWS", 60)  # so that the table to choose from takes several pages
        build(material(), out, kinds=("site",))
    return out / "site"


@pytest.fixture(scope="module")
def shared() -> Iterator[webdriver.Chrome]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def browser(shared: webdriver.Chrome, site: Path) -> Iterator[webdriver.Chrome]:
    """The browser; afterwards nothing was said on its console and nothing left the site's folder."""
    scheme(shared, "light")
    console(shared)
    requests(shared)
    yield shared
    assert console(shared) == []
    away = [address for address in requests(shared) if not address.startswith(("file:///", "data:", "blob:"))]
    assert away == []


def column(browser: webdriver.Chrome, table: str, number: int) -> list[str]:
    cells = browser.find_elements(By.CSS_SELECTOR, f"#{table} tbody td:nth-child({number})")
    return [cell.get_attribute("textContent").strip() for cell in cells]


def sort_by(browser: webdriver.Chrome, table: str, number: int, order: str, *, by_key: bool = False) -> None:
    """Sort by a click or a key, and wait until the table says that it is sorted so."""
    waits = WebDriverWait(browser, 30)
    waits.until(lambda b: b.find_elements(By.CSS_SELECTOR, f"[data-grid={table}][data-ready]"))
    head = f"#{table} thead th:nth-child({number})"
    arrow = browser.find_element(By.CSS_SELECTOR, f"{head} .dt-column-order")
    arrow.send_keys(Keys.ENTER) if by_key else arrow.click()
    waits.until(lambda b: b.find_elements(By.CSS_SELECTOR, f"{head}[aria-sort={order}]"))


def field(browser: webdriver.Chrome, sheet: str, label: str) -> webdriver.remote.webelement.WebElement:
    path = f"//div[@data-grid='{sheet}']//label[starts-with(normalize-space(.), '{label}')]"
    return browser.find_element(By.XPATH, f"{path}/input | {path}/select")


def test_sort_filter_open_a_model_and_follow_to_its_samples(browser: webdriver.Chrome, site: Path) -> None:
    browser.get((site / "models.html").as_uri())
    before = column(browser, "models", 1)
    assert len(before) == len(MADE.held)

    sort_by(browser, "models", 6, "ascending")
    sizes = [float(text) for text in column(browser, "models", 6)]
    assert sizes == sorted(sizes) and column(browser, "models", 1) != before
    sort_by(browser, "models", 6, "descending")
    assert [float(text) for text in column(browser, "models", 6)] == sizes[::-1]

    field(browser, "models", "Search").send_keys("mobilenetv2")
    field(browser, "models", "Accuracy").send_keys("85")
    assert {name.split()[0] for name in column(browser, "models", 1)} == {"mobilenetv2", "mobilenetv2-quant"}
    Select(field(browser, "models", "Strategy")).select_by_visible_text("none")
    assert browser.find_element(By.CSS_SELECTOR, "[data-grid=models] .shown").text == f"1 of {len(MADE.held)} rows"

    browser.find_element(By.CSS_SELECTOR, "#models tbody a").click()
    assert browser.current_url.endswith(FLOAT_PAGE)
    assert browser.find_element(By.TAG_NAME, "h1").text == "mobilenetv2"
    assert "zoo pull mobilenetv2 --to out" in browser.find_element(By.CSS_SELECTOR, ".command").text

    latency = browser.find_element(By.XPATH, "//table[@id='cells']//tr[td[1]='local' and td[3]='1']/td[4]/a")
    shown = latency.text
    latency.click()
    assert shown in browser.find_element(By.CSS_SELECTOR, ".big").text
    cell = next(c for c in material().measurements if c.artifact_sha256 == FLOAT.digest and c.device.name == "local"
                and c.threads_requested == 1)  # fmt: skip
    listed = [pre.get_attribute("textContent").split() for pre in browser.find_elements(By.CSS_SELECTOR, "pre.samples")]
    assert listed == [[str(ns) for ns in repeat.samples_ns] for repeat in cell.repeats]


def test_the_fastest_published_model_above_70_on_a_phone(browser: webdriver.Chrome, site: Path) -> None:
    browser.get((site / "choose.html").as_uri())
    assert len(browser.find_elements(By.CSS_SELECTOR, "#choose tbody tr")) == 60
    browser.find_element(By.XPATH, "//button[starts-with(., 'Sort and filter all')]").click()
    WebDriverWait(browser, 30).until(lambda b: b.find_elements(By.CSS_SELECTOR, "[data-grid=choose][data-ready]"))
    Select(field(browser, "choose", "Device")).select_by_visible_text("kirin970")
    Select(field(browser, "choose", "From")).select_by_visible_text("published")
    field(browser, "choose", "Top-1").send_keys("70")
    sort_by(browser, "choose", 5, "ascending")
    first = [column(browser, "choose", number)[0] for number in (1, 2, 3, 4, 5)]
    assert first[:3] == ["kirin970", "mobilenetv1", "quant"]
    assert first[3].startswith("70.18%") and first[4].startswith("15.1206")
    assert "published" in first[4]


def test_keys_alone_sort_a_table(browser: webdriver.Chrome, site: Path) -> None:
    browser.get((site / "models.html").as_uri())
    sort_by(browser, "models", 6, "ascending", by_key=True)
    sizes = [float(text) for text in column(browser, "models", 6)]
    assert sizes == sorted(sizes)
    browser.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
    browser.get((site / "index.html").as_uri())
    browser.switch_to.active_element.send_keys(Keys.TAB)
    assert browser.switch_to.active_element.text == "Skip to the content"


def test_plots_have_tooltips_and_lead_to_models(browser: webdriver.Chrome, site: Path) -> None:
    device = next((site / "devices").glob("local*.html"))
    browser.get(device.as_uri())
    place = browser.execute_script(
        """const canvas = document.querySelector('.canvas[data-kind=trade] canvas');
        canvas.scrollIntoView({block: 'center'});
        const chart = Chart.getChart(canvas), box = canvas.getBoundingClientRect();
        const point = chart.getDatasetMeta(0).data[0];
        return [point.x - box.width / 2, point.y - box.height / 2, chart.data.datasets[0].raw[0].name];"""
    )
    canvas = browser.find_element(By.CSS_SELECTOR, ".canvas[data-kind=trade] canvas")
    actions = webdriver.ActionChains(browser).move_to_element_with_offset(canvas, round(place[0]), round(place[1]))
    actions.perform()
    told = browser.execute_script(
        "const tip = Chart.getChart(arguments[0]).tooltip; return [tip.title, tip.body.map((b) => b.lines).flat()]",
        canvas,
    )
    assert told[0] == [place[2]] and "ms" in told[1][0]
    actions.click().perform()
    WebDriverWait(browser, 30).until(lambda b: "/models/" in b.current_url)
    assert browser.find_element(By.TAG_NAME, "h1").text == place[2]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_serious_finding_of_axe(browser: webdriver.Chrome, site: Path, theme: str) -> None:
    scheme(browser, theme)
    measured = sorted((site / "measurements").rglob("*.html"))[0]
    device = next((site / "devices").glob("local*.html"))
    wanted = [site / name for name in ("index.html", "choose.html", FLOAT_PAGE, "reading.html")]
    for page in [*wanted, device, measured]:
        browser.get(page.as_uri())
        # The pages are the same in both themes but for their colours.
        assert findings(browser, () if theme == "light" else ("color-contrast",)) == [], page.name


def test_the_button_changes_the_theme_and_plots_with_it(browser: webdriver.Chrome, site: Path) -> None:
    browser.get((site / FLOAT_PAGE).as_uri())
    back = "return getComputedStyle(document.body).backgroundColor"
    ink = "return Chart.getChart(document.querySelector('canvas')).data.datasets[0].borderColor"
    before = browser.execute_script(back), browser.execute_script(ink)
    browser.find_element(By.CSS_SELECTOR, "button.theme").click()
    after = browser.execute_script(back), browser.execute_script(ink)
    assert after[0] != before[0] and after[1] != before[1]
    browser.execute_script("localStorage.removeItem('pocketzoo-theme')")


def test_without_javascript_everything_reads(browser: webdriver.Chrome, site: Path) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get((site / "models.html").as_uri())
        assert len(browser.find_elements(By.CSS_SELECTOR, "#models tbody tr")) == len(MADE.held)
        assert not browser.find_element(By.CSS_SELECTOR, ".tools").is_displayed()
        browser.find_element(By.CSS_SELECTOR, "#models tbody a").click()
        assert "Get it" in browser.find_element(By.TAG_NAME, "main").text
        browser.get((site / "choose.html").as_uri())
        browser.find_element(By.CSS_SELECTOR, ".page-links a").click()
        assert "Rows 61 to 120" in browser.find_element(By.TAG_NAME, "main").text
        device = next((site / "devices").glob("local*.html"))
        browser.get(device.as_uri())
        still = browser.find_element(By.CSS_SELECTOR, "noscript img")
        assert still.is_displayed() and int(still.get_property("naturalWidth")) > 300
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_names_with_markup_are_text(browser: webdriver.Chrome, tmp_path: Path) -> None:
    build(hostile(), tmp_path, kinds=("site",))
    shown = HOSTILE.split("\n")[0]
    for page in sorted((tmp_path / "site").rglob("*.html")):
        if page.parent.name == "published":
            continue
        browser.get(page.as_uri())
        assert not browser.find_elements(By.XPATH, "//body//script[contains(., 'alert(1)') and not(@type)]")
        assert not browser.find_elements(By.CSS_SELECTOR, "a[href^='http']")
        if page.parent.name in ("devices", "models"):
            assert shown in browser.find_element(By.TAG_NAME, "main").text


def test_a_phone_scrolls_tables_not_the_page(browser: webdriver.Chrome, site: Path) -> None:
    metrics = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        for page in (site / "index.html", site / FLOAT_PAGE, site / "compare.html"):
            browser.get(page.as_uri())
            assert browser.execute_script("return document.documentElement.scrollWidth") <= 390, page.name
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_measurements_alone_make_a_site(browser: webdriver.Chrome, tmp_path: Path) -> None:
    from reports.cells import merge

    build(merge([], [measurement(FLOAT, 3.0)]), tmp_path, kinds=("site",))
    page = next((tmp_path / "site" / "measurements").rglob("*.html"))
    browser.get(page.as_uri())
    assert "not in the zoo" in browser.find_element(By.TAG_NAME, "main").text
