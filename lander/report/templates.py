"""Templates of the pages, their style and script, and the captions of the figures.

A module without the page, so that the figures of experiments do not depend on it.
"""

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from lander.report import svg
from lander.report.translations import shortened, text_direction, visible

HERE = Path(__file__).parent
LARGE = 200_000  # characters of a file that is not in the page


def style() -> dict[str, Any]:
    """Style and script of a page, and the script's hash: the page's policy allows no other script."""
    css, script = ((HERE / name).read_text(encoding="utf-8").strip() for name in ("page.css", "page.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return {"css": Markup(css), "script": Markup(script), "script_hash": digest}


def captions() -> dict[str, str]:
    """How to read each figure, by its name."""
    return environment().get_template("texts.html").module.captions


def saved(text: str, name: str) -> str:
    """The address of a file: its content, or its name if it is too large to be in the page."""
    if len(text) > LARGE:
        return name
    kind = "image/svg+xml" if name.endswith(".svg") else "text/csv"
    return f"data:{kind};base64,{base64.b64encode(text.encode()).decode()}"


def environment(*folders: Path) -> jinja2.Environment:
    """Templates of this folder and others. They escape text and show control characters, which HTML cannot hold."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader([*folders, HERE]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
    made.filters |= {"shortened": shortened, "identifier": lambda text: re.sub(r"[^A-Za-z0-9_-]", "-", text)}
    made.filters["saved"] = saved
    made.filters["json"] = lambda value: json.dumps(value, ensure_ascii=False, indent=2)
    made.globals |= {"dir": text_direction, "inline": lambda *figure: Markup(svg.inline(*figure))}
    return made
