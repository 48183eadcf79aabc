"""A report as blocks, written as Markdown with pictures beside it and as one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import csv
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Heading:
    """A title; ``level`` 1 is the page's own."""

    text: str
    level: int = 2


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True, slots=True)
class Grid:
    """A table of words."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG that lies beside the report."""

    name: str
    text: str


Block = Heading | Text | Grid | Picture
STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#1d2733}"
    "table{border-collapse:collapse;margin:1rem 0;display:block;overflow-x:auto}"
    "td,th{border:1px solid #c9d0d8;padding:.3rem .6rem;text-align:left;vertical-align:top}"
    "th{background:#eef1f4}img{max-width:100%}"
)


def write_page(folder: Path, name: str, blocks: Sequence[Block]) -> tuple[Path, Path]:
    """Write ``name``.md and ``name``.html into a folder that holds the pictures; return both paths."""
    markdown, page = folder / f"{name}.md", folder / f"{name}.html"
    markdown.write_text("\n\n".join(map(_markdown, blocks)) + "\n", encoding="utf-8")
    title = next((block.text for block in blocks if isinstance(block, Heading)), name)
    body = "\n".join(_html(block, folder) for block in blocks)
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>{STYLE}</style>'
    page.write_text(f'<!doctype html><html lang="en"><head>{head}</head><body>\n{body}\n</body></html>\n', "utf-8")
    return markdown, page


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write rows; numbers keep six digits, so that equal runs give equal files."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows([f"{cell:.6g}" if isinstance(cell, float) else cell for cell in row] for row in rows)


def _markdown(block: Block) -> str:
    if isinstance(block, Heading):
        return f"{'#' * block.level} {block.text}"
    if isinstance(block, Picture):
        return f"![{block.text}]({block.name})"
    if isinstance(block, Text):
        return block.text
    lines = [block.header, ("---",) * len(block.header), *block.rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def _words(text: str) -> str:
    """Markdown's code spans as HTML's, everything else escaped.

    >>> _words("`a<b` & c")
    '<code>a&lt;b</code> &amp; c'
    """
    return re.sub("`([^`]+)`", r"<code>\1</code>", html.escape(text))


def _html(block: Block, folder: Path) -> str:
    if isinstance(block, Heading):
        return f"<h{block.level}>{html.escape(block.text)}</h{block.level}>"
    if isinstance(block, Text):
        return f"<p>{_words(block.text)}</p>"
    if isinstance(block, Picture):
        packed = base64.b64encode((folder / block.name).read_bytes()).decode()
        return f'<img alt="{html.escape(block.text)}" src="data:image/png;base64,{packed}">'
    head = "".join(f"<th>{_words(cell)}</th>" for cell in block.header)
    rows = "".join(f"<tr>{''.join(f'<td>{_words(cell)}</td>' for cell in row)}</tr>" for row in block.rows)
    return f"<table><tr>{head}</tr>{rows}</table>"
