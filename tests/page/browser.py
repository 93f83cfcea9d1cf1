"""A real browser without a window, with an authenticator in software that a test can change."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.virtual_authenticator import VirtualAuthenticatorOptions
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync"
    " --disable-background-networking --disable-component-update --window-size=420,900"
)
PATIENCE_S = 30


class Browser:
    """What a person does with the page: by the ids of its elements, only where they are seen."""

    def __init__(self, driver: webdriver.Chrome, downloads: Path) -> None:
        self.driver = driver
        self.downloads = downloads

    def open(self, url: str) -> None:
        self.driver.get(url)

    def seen(self, element_id: str) -> WebElement:
        """The element, as soon as it is shown."""
        return self._until(lambda: self._shown(element_id))

    def press(self, element_id: str) -> None:
        self.seen(element_id).click()

    def write(self, element_id: str, text: str) -> None:
        """Put a text in at once, as pasting does."""
        element = self.seen(element_id)
        self.driver.execute_script("arguments[0].value = arguments[1]", element, text)

    def text(self, element_id: str) -> str:
        return self.seen(element_id).text

    def content(self, element_id: str) -> str:
        """Every character in an element that is shown."""
        return str(self.seen(element_id).get_property("textContent"))

    def value(self, element_id: str) -> str:
        return str(self.seen(element_id).get_property("value"))

    def is_shown(self, element_id: str) -> bool:
        return self._shown(element_id) is not None

    def stored(self) -> dict[str, str]:
        return dict(self.driver.execute_script("return {...localStorage}"))

    def downloaded(self, name: str) -> str:
        path = self.downloads / name
        self._until(path.exists)
        return path.read_text()

    def complaints(self) -> list[str]:
        """What the browser calls an error: a broken policy, a fault in a script."""
        entries = self.driver.get_log("browser")
        severe = [item for item in entries if item["level"] == "SEVERE"]
        return [item["message"] for item in severe if item["source"] != "network"]

    def _shown(self, element_id: str) -> WebElement | None:
        element = self.driver.find_element(By.ID, element_id)
        return element if element.is_displayed() and element.is_enabled() else None

    def _until(self, work: Callable[[], Any]) -> Any:
        return WebDriverWait(self.driver, PATIENCE_S, 0.05).until(lambda _: work())


def add_authenticator(driver: webdriver.Chrome) -> None:
    """A phone with a passkey store, whose owner is always verified until a test says otherwise."""
    options = VirtualAuthenticatorOptions()
    options.protocol = VirtualAuthenticatorOptions.Protocol.CTAP2
    options.transport = VirtualAuthenticatorOptions.Transport.INTERNAL
    options.has_resident_key = True
    options.has_user_verification = True
    options.is_user_verified = True
    driver.add_virtual_authenticator(options)


@contextmanager
def opened(folder: Path) -> Iterator[Browser]:
    """A browser with a new, empty profile; the test is skipped where there is none."""
    browser, driver_path = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or driver_path is None:
        assert "CI" not in os.environ, "tools/system-packages.sh installs a browser"
        pytest.skip("chromium and chromium-driver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in (*FLAGS.split(), f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"download.default_directory": str(folder)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(driver_path))
    try:
        add_authenticator(driver)
        yield Browser(driver, folder)
    finally:
        driver.quit()
