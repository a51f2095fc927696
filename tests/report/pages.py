"""What holds for every page of a report or comparison, and how Chromium shows it."""

import base64
import hashlib
import html
import html.parser
import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from lander.report import page as page_module

PACKAGE = Path(page_module.__file__).parent


class Page(html.parser.HTMLParser):
    """Checks that tags are balanced, and collects ids, links, texts of the sections and loaded resources."""

    VOID = ("meta", "link", "br", "img", "input", "col")

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.links, self.loaded, self.text = [], [], [], [], ""
        self.script, self.policy, self.captions, self.tables, self.bare = "", "", 0, 0, 0
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs, closed=False):
        attrs = dict(attrs)
        self.ids += [attrs["id"]] if "id" in attrs else []
        self.links += [value for name, value in attrs.items() if name in ("href", "xlink:href")]
        self.loaded += [value for name, value in attrs.items() if name in ("src", "srcset", "data", "action")]
        assert tag not in ("iframe", "object", "base")
        if tag == "script":
            assert attrs == {}
            assert self.script == ""  # one script, and it is ours
        if attrs.get("http-equiv") == "Content-Security-Policy":
            self.policy = attrs["content"]
        self.captions += tag == "caption"
        self.tables += tag == "table"
        self.bare += tag == "th" and "scope" not in attrs
        assert not any(name.startswith("on") for name in attrs)
        if tag not in self.VOID and not closed:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs, closed=True)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.script += data
        else:
            self.text += data


def check_page(folder):
    """What holds for every report."""
    text = (folder / "index.html").read_text(encoding="utf-8")
    page = Page(text)
    assert len(page.ids) == len(set(page.ids))
    assert page.loaded == []
    assert page.captions == page.tables > 0
    assert page.bare == 0  # every heading of a table says what it heads
    assert page.script == (PACKAGE / "page.js").read_text().strip()
    digest = base64.b64encode(hashlib.sha256(page.script.encode()).digest()).decode()
    assert "default-src 'none'" in page.policy
    assert f"script-src 'sha256-{digest}'" in page.policy
    targets = [link[1:] for link in page.links if link.startswith("#")] + re.findall(r"url\(#([^)]+)\)", text)
    assert set(targets) <= set(page.ids)
    for link in page.links:  # its own places, its own files, the paper; nothing is fetched to show the page
        known = link.startswith(
            (
                "#",
                "data:,",
                "data:image/png",
                "data:text/csv;",
                "data:image/svg",
                "https://aclanthology.org/",
            )
        )
        known = known or (folder / link).is_file()
        assert known, link
    assert "@import" not in text
    assert len(text.encode()) < 5_000_000
    for path in folder.glob("*.svg"):
        ET.parse(path)
        assert path.with_suffix(".csv").stat().st_size > 0
        assert "<dc:date>" not in path.read_text()
    return page


# ---------------------------------------------------------------- in a browser

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
browsed = pytest.mark.skipif(not CHROMIUM, reason="no chromium on this machine")
WIDTHS = (400, 1280)
TELL = """
const extent = (one) => { const box = one.getBBox(); return box.width + box.height; };
const marks = (picture) => [...picture.querySelectorAll(".data path, .data use, .data image")]
  .filter((one) => !one.closest("defs") && extent(one) > 0).length;
const tell = (found) => {
  const root = document.documentElement;
  found.wide = [window.innerWidth, root.scrollWidth - root.clientWidth];
  const figures = [...document.querySelectorAll("figure")].filter((one) => one.querySelector("svg"));
  found.marks = Object.fromEntries(figures.map((one) => [one.id, marks(one)]));
  parent.postMessage(found, "*");
};
"""


def browse(page, *flags):
    """The page as Chromium has it after its scripts have run, and what went wrong."""
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=8000"]
    command += ["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += ["--enable-logging=stderr", "--dump-dom", *flags, page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def at_widths(page, script):
    """What a script in a page tells (`tell`) of it, shown in frames of exactly `WIDTHS` pixels; errors fail.

    Nothing may stick out at any width, and every figure has drawn marks, axes and guide lines apart.
    """
    text = re.sub(r"<meta http-equiv[^>]*>", "", page.read_text())
    page = page.with_name("probed.html")
    page.write_text(text.replace("</body>", f"<script>{{{TELL}{script}}}</script></body>"))
    frames = "".join(
        f'<iframe src="{page.name}" style="width:{width}px;height:900px;border:0"></iframe>' for width in WIDTHS
    )
    collect = "const all = []; onmessage = (one) => { all.push(one.data); document.title = JSON.stringify(all); };"
    (page.parent / "frames.html").write_text(f"<title></title><script>{collect}</script>{frames}")
    dom, wrong = browse(page.parent / "frames.html", "--window-size=1400,2000")
    assert wrong == [], wrong
    found = json.loads(html.unescape(re.search(r"<title>(.*?)</title>", dom)[1]))
    pages = sorted(found, key=lambda one: one["wide"][0])
    assert [one["wide"] for one in pages] == [[width, 0] for width in WIDTHS]
    for one in pages:
        assert one["marks"]
        assert [name for name, number in one["marks"].items() if not number] == []
    return pages
