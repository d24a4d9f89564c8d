"""Draws the pictures of docs/pictures: the status page in light, dark and on a phone, from the stand-in.

    python3 e2e/page/pictures.py

Texts look best with the font Inter (Debian: fonts-inter); without it they are drawn in the next of page.css. PNGs that are
larger than LIMIT are an error. pngquant, where it is there, makes them a quarter of the size.
"""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import mock
from browser import Browser, find

TO = Path(__file__).parents[2] / "docs/pictures"
LIMIT = 150 * 1024
PICTURES = [
    ("status-light", "normal/", {"width": 1180, "height": 1480}),
    ("status-dark", "outage/", {"width": 1180, "height": 1130, "dark": True}),
    ("status-phone", "normal/", {"width": 360, "height": 760, "scale": 2, "phone": True}),
    ("container-light", "normal/#/unit/u2", {"width": 1180, "height": 1240}),
    ("container-phone", "normal/#/unit/u2", {"width": 360, "height": 760, "scale": 2, "phone": True, "dark": True}),
]


def draw(browser, site, name, place, how):
    node = site.nodes[place.split("/")[0]]
    tab = browser.tab(**how)
    tab.go(f"{site.address}/{place}")
    if "unit" in place:
        tab.until("document.querySelector('.tail .said').textContent.startsWith('Waiting')")
        for i in range(22):
            stream, text = mock.TEXTS[(i * i + i // 3) % len(mock.TEXTS)]
            node.emit(text, stream, 2)
            time.sleep(0.02)
        tab.until("document.querySelectorAll('.entry').length === 22")
        if how.get("phone"):
            tab.eval("document.querySelector('.tail').scrollIntoView(); scrollBy(0, -12)")
    time.sleep(2.2)  # two rounds, so that figures are means
    file = TO / f"{name}.png"
    tab.picture(file)
    tab.close()
    if shutil.which("pngquant"):
        subprocess.run(["pngquant", "--force", "--skip-if-larger", "--strip", "--output", file, "128", file], check=False)
    return file


if __name__ == "__main__":
    TO.mkdir(parents=True, exist_ok=True)
    with mock.Mock() as site, Browser(find()) as browser:
        files = [draw(browser, site, *picture) for picture in PICTURES]
    for file in files:
        print(f"{file.name}: {file.stat().st_size / 1024:.0f} KiB")
    sys.exit(f"larger than {LIMIT} bytes" if any(file.stat().st_size > LIMIT for file in files) else 0)
