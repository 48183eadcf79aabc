"""The files of the page that are not written by hand in Python: style, scripts, and the libraries that it carries."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

OWN = ("words.js", "globe.js", "charts.js", "found.js", "player.js")
LIVE = "live.js"
LIBRARIES = {"d3-array": "d3-array.min.js", "d3-geo": "d3-geo.min.js", "uPlot": "uPlot.iife.min.js"}
"""Licence by name, and script, in the order that they are run."""


@dataclass(frozen=True, slots=True)
class Assets:
    """What goes between ``<style>`` and ``<script>``, byte for byte as the content policy's hashes say."""

    style: str
    libraries: str
    script: str

    def policy(self, connect: bool) -> str:
        """Return the content security policy: this style, these scripts, pictures inside the file, nothing else."""
        scripts = " ".join(f"'{_hash(text)}'" for text in (self.libraries, self.script))
        asks = "connect-src 'self'; " if connect else ""
        return (
            f"default-src 'none'; style-src '{_hash(self.style)}'; script-src {scripts}; img-src data:; {asks}"
            "base-uri 'none'; form-action 'none'"
        )


@lru_cache(maxsize=2)
def assets(live: bool = False) -> Assets:
    """Return the page's files; ``live`` adds the script that asks for what is new."""
    style = read("vendor/uPlot.min.css") + "\n" + read("report.css")
    libraries = "\n".join(read(f"vendor/{name}") for name in LIBRARIES.values())
    own = "\n".join(read(name) for name in (*OWN, *((LIVE,) if live else ())))
    return Assets(style, libraries, f'"use strict";\n(() => {{\n{own}\n}})();')


@lru_cache(maxsize=1)
def land() -> Any:
    """Return the coastlines: a GeoJSON MultiPolygon in degrees (Natural Earth 1:110 million)."""
    return json.loads(read("vendor/land-110m.json"))


def licences() -> dict[str, str]:
    """Return the licence of each library, which must stand in every copy."""
    names = (*LIBRARIES, "world-atlas")
    return {name: read(f"vendor/LICENSE-{name}.txt").strip() for name in names}


def read(name: str) -> str:
    """Return a file of this package."""
    return files("runtime.report").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
