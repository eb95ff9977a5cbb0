"""A headless Chromium for tests: what it said on its console and what it asked the network for."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

AXE = Path(__file__).parent / "axe" / "axe.min.js"


@contextmanager
def chromium() -> Iterator[webdriver.Chrome]:
    """One browser, ended with the block."""
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not binary or not driver:
        pytest.skip("needs a browser; to run it: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    # Containers have neither a sandbox for root nor a large /dev/shm.
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--window-size=1280,900",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(driver, env=dict(os.environ)))
    try:
        browser.set_page_load_timeout(60)
        browser.implicitly_wait(0)
        yield browser
    finally:
        browser.quit()


def console(browser: webdriver.Chrome) -> list[str]:
    """What the console was told since the last call, errors and warnings alike."""
    return [f"{entry['level']}: {entry['message']}" for entry in browser.get_log("browser")]


def requests(browser: webdriver.Chrome) -> list[str]:
    """Every address the pages asked for since the last call."""
    found = []
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            found.append(message["params"]["request"]["url"])
    return found


def scheme(browser: webdriver.Chrome, name: str) -> None:
    """The system's theme: ``dark`` or ``light``."""
    features = [{"name": "prefers-color-scheme", "value": name}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def findings(browser: webdriver.Chrome, rules: Sequence[str] = ()) -> list[str]:
    """What axe-core finds serious or critical on the page, by all of its rules or by some."""
    browser.execute_script(AXE.read_text(encoding="utf-8"))
    # preload would fetch the style sheets, which pages from disk may not.
    options: dict[str, Any] = {"preload": False, "resultTypes": ["violations"]}
    if rules:
        options["runOnly"] = list(rules)
    found: dict[str, Any] = browser.execute_async_script(
        "axe.run(document, arguments[0]).then(arguments[arguments.length - 1]);", options
    )
    return [
        f"{one['id']} ({one['impact']}): {one['help']}: {one['nodes'][0]['html'][:300]}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]
