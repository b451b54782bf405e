"""Write a benchmark's charts as a page, and as the picture that docs show."""

from __future__ import annotations

import shutil
from pathlib import Path

from robofb.files import write_atomically
from robofb.report import html_page

DOCS = Path(__file__).parents[1] / "docs"
WIDTH_PX = 900


def save_page(path: Path, title: str, body: str, picture: str = "") -> None:
    """Write charts to an HTML file; and, with a name and where Chromium is, to docs/<picture>.png."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, html_page(title, body))
    print(f"charts {path}")
    if picture:
        print(f"picture {_photograph(path, DOCS / f'{picture}.png')}")


def _photograph(page: Path, out: Path) -> str:
    """Take a picture of a whole page; return where it is, or why there is none."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        return "not taken: there is no chromium or google-chrome"
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return "not taken: pip install playwright"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        sheet = browser.new_page(viewport={"width": WIDTH_PX, "height": 600}, color_scheme="light")
        sheet.goto(page.resolve().as_uri())
        sheet.screenshot(path=out, full_page=True)
        browser.close()
    return str(out)
