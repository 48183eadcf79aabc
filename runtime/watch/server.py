"""Serves the page on 127.0.0.1: two addresses, GET alone, a strict content policy, nothing that changes anything."""

from __future__ import annotations

import http.server
import json
import threading
from dataclasses import dataclass, field

from ..errors import MissionError, SubsolarError
from ..report import render_report
from ..report.assets import assets
from .sources import Source

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass
class Pages:
    """The page by what it shows: rendered once for every new version."""

    source: Source
    lock: threading.Lock = field(default_factory=threading.Lock)
    version: str = ""
    page: bytes = b""

    def current(self) -> tuple[str, bytes]:
        """Return the version and the page. Raises ``SubsolarError`` where the flight cannot be read."""
        with self.lock:
            version = self.source.version()
            if version != self.version:
                text = render_report(self.source.report(), live=True)
                self.page = text.replace('<html lang="en">', f'<html lang="en" data-version="{version}">', 1).encode()
                self.version = version
            return self.version, self.page


class PageServer:
    """Answers on loopback until it is closed. ``port`` 0 takes a free one; a taken one is a ``MissionError``."""

    def __init__(self, source: Source, port: int) -> None:
        pages = Pages(source)
        try:
            self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), _handler(pages))
        except OSError as error:
            raise MissionError(f"port {port} is taken: {error.strerror}. Give another one with --port.") from error
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])

    @property
    def address(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self.port}/"

    def serve(self) -> None:
        """Answer until ``close`` is called from another thread, or Ctrl-C."""
        self._server.serve_forever(poll_interval=0.2)

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()


def _handler(pages: Pages) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        server_version, sys_version = "subsolar", ""
        timeout = 30

        def do_GET(self) -> None:
            self._answer(body=True)

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def _answer(self, *, body: bool) -> None:
            code, kind, text = self._find()
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(text)))
            self.send_header("Content-Security-Policy", f"{assets(True).policy(True)}; frame-ancestors 'none'")
            for name, value in HEADERS.items():
                self.send_header(name, value)
            self.end_headers()
            if body:
                self.wfile.write(text)

        def _find(self) -> tuple[int, str, bytes]:
            if not self._asked_by_name():  # a page elsewhere may point its own name at 127.0.0.1
                return 421, "text/plain; charset=utf-8", b"ask for 127.0.0.1 or localhost\n"
            if self.path not in ("/", "/version"):
                return 404, "text/plain; charset=utf-8", b"there is / and /version\n"
            try:
                version, page = pages.current()
            except SubsolarError as problem:
                return 503, "application/json", json.dumps({"error": str(problem)}).encode()
            if self.path == "/version":
                return 200, "application/json", json.dumps({"version": version}).encode()
            return 200, "text/html; charset=utf-8", page

        def _asked_by_name(self) -> bool:
            host = self.headers.get("Host", "").rsplit(":", 1)[0]
            return host in ("127.0.0.1", "localhost")

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: the page asks every two seconds."""

    return Handler
