"""The server of the dashboard: one page and what is new, to browsers on this machine that opened it themselves."""

import json
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs

from rucksac.errors import UsageError
from rucksac.reporting.control import Control
from rucksac.reporting.live import Live
from rucksac.reporting.page import page, policy
from rucksac.reporting.view import newest_film
from rucksac.training.stopping import stop_on_signals

HOST = "127.0.0.1"
LARGEST_BODY = 4096  # bytes: of a name
SECONDS_FOR_A_REQUEST = 10
HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Dashboard(ThreadingHTTPServer):
    """Serves a folder of runs on the loopback interface; with `control`, who has its token stops and resumes them."""

    daemon_threads = True

    def __init__(self, folder: Path, port: int, control: Control | None) -> None:
        if not 0 <= port < 2**16:
            raise UsageError(f"--port is {port}, but must be a number from 0 to 65535; 0 takes any that is free")
        if not folder.is_dir():
            raise UsageError(f"{folder} is no folder; give the one that holds the runs")
        self.control, self.live = control, Live(folder, control)
        shown = {"title": folder.resolve().name, "control": control is not None}
        self.page = page({"runs": [], "groups": [], "differences": [], **shown}, live=True).encode()
        try:
            super().__init__((HOST, port), Request)
        except OSError as error:
            raise UsageError(f"port {port} cannot be had ({error.strerror}); give another --port, 0 for any") from error

    @property
    def origin(self) -> str:
        """Return the address of the page."""
        return f"http://{HOST}:{self.server_port}"

    def handle_error(self, *_: object) -> None:
        """Let go of a browser that has gone; the stream of errors belongs to the person at the terminal."""


class Request(BaseHTTPRequestHandler):
    """One request, which is refused unless it comes from the page itself or from a person's own hand."""

    server: Dashboard
    timeout = SECONDS_FOR_A_REQUEST
    error_content_type = "text/plain; charset=utf-8"
    error_message_format = "%(explain)s\n"

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        if not self._is_from_here():
            return
        if path == "/":
            self._answer("text/html; charset=utf-8", self.server.page, f"{policy(live=True)}; frame-ancestors 'none'")
        elif path == "/news":
            asked = parse_qs(query, keep_blank_values=True)
            chosen = list(zip(asked.get("run", ()), asked.get("cursor", ()), strict=False))
            try:
                news = self.server.live.news(int(asked["version"][0]), asked["mark"][0], chosen)
            except (KeyError, ValueError):
                self.send_error(
                    HTTPStatus.BAD_REQUEST, explain="version, mark, run and cursor are as the page has them"
                )
                return
            self._answer("application/json; charset=utf-8", json.dumps(news, allow_nan=False).encode())
        elif path == "/film":
            self._send_film(parse_qs(query).get("run", [""])[0])
        else:
            self.send_error(HTTPStatus.NOT_FOUND, explain="There is nothing here.")

    def _send_film(self, name: str) -> None:
        try:
            film = newest_film(self.server.live.path_of(name))
            body = film.read_bytes() if film else None
        except (UsageError, OSError):
            body = None
        if body is None:
            self.send_error(HTTPStatus.NOT_FOUND, explain="There is no such film.")
        else:
            self._answer("video/mp4", body)

    def do_POST(self) -> None:
        control = self.server.control
        if control is None:
            self.send_error(HTTPStatus.METHOD_NOT_ALLOWED, explain="Start the dashboard with --allow-control for this.")
            return
        if not self._is_from_here():
            return
        if not control.permits(self.headers.get("Authorization", "").removeprefix("Bearer ")):
            self.send_error(HTTPStatus.FORBIDDEN, explain="Open the address with the token that the dashboard printed.")
            return
        act = {"/stop": control.stop, "/resume": control.resume}.get(self.path)
        length = self.headers.get("Content-Length", "")
        if act is None:
            self.send_error(HTTPStatus.NOT_FOUND, explain="There is nothing here.")
        elif not length.isdecimal():
            self.send_error(HTTPStatus.LENGTH_REQUIRED, explain="The length of the name must be said.")
        elif int(length) > LARGEST_BODY:
            self.send_error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, explain="That is longer than any name.")
        else:
            try:
                act(self.server.live.path_of(self.rfile.read(int(length)).decode()))
            except (UsageError, UnicodeDecodeError, OSError) as error:
                self.send_error(HTTPStatus.CONFLICT, explain=str(error))
            else:
                self._answer("application/json; charset=utf-8", b"{}")

    def _is_from_here(self) -> bool:
        """Refuse what a page from elsewhere has sent: by another name of this machine, or from another origin."""
        hosts = {f"{name}:{self.server.server_port}" for name in (HOST, "localhost")}
        origins = {None, *(f"http://{host}" for host in hosts)}
        if (
            self.headers.get("Host") in hosts
            and self.headers.get("Origin") in origins
            and self.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin")
        ):
            return True
        self.send_error(HTTPStatus.FORBIDDEN, explain="Open the printed address yourself, not through another page.")
        return False

    def _answer(self, kind: str, body: bytes, allowed: str = "default-src 'none'") -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", allowed)
        self.end_headers()
        self.wfile.write(body)

    def end_headers(self) -> None:
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def version_string(self) -> str:
        return "rucksac"

    def log_message(self, *_: object) -> None:
        """Say nothing on the terminal."""


def serve(folder: Path, port: int, allow_control: bool, say: Callable[[str], None]) -> None:
    """Serve until Ctrl-C, or another signal that asks to end; say the address first.

    Raises `UsageError` for a folder that there is not and for a port that cannot be had.
    """
    control = Control() if allow_control else None
    with stop_on_signals() as stop, Dashboard(folder, port, control) as server:
        stop.graceful = True
        Thread(target=server.serve_forever, daemon=True).start()
        say(server.origin + (f"/#token={control.token}" if control else "/"))
        stop.wait()
        server.shutdown()
