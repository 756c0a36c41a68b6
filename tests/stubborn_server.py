"""A web server on this machine that misbehaves as told, for the tests of the downloads."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class StubbornServer:
    """Serves ``files`` (path -> bytes); ``habits`` (path -> list of words) makes it stubborn.

    Each request to a path uses up the first habit of its list; the last one stays. Habits:
    ``ok``, ``drop N`` and ``stall N`` (after N bytes of the body), ``silent`` (no answer),
    ``trickle``, ``wrong``, ``short``, ``endless``, ``to PATH`` (redirect) and a status such as
    ``404``.
    """

    def __init__(self):
        self.files: dict[str, bytes] = {}
        self.habits: dict[str, list[str]] = {}
        self.seen: list[str] = []
        self.closing = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()

    def _handler(self):
        stubborn = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                self.close_connection = True
                path = self.path.partition("?")[0]
                stubborn.seen.append(path)
                habits = stubborn.habits.get(path, ["ok"])
                habit, _, detail = (habits.pop(0) if len(habits) > 1 else habits[0]).partition(" ")
                try:
                    self.answer(habit, detail, stubborn.files.get(path))
                except (BrokenPipeError, ConnectionResetError):
                    pass

            def answer(self, habit, detail, content):
                if habit == "silent":
                    stubborn.closing.wait()
                elif habit == "to":
                    self.head(302, 0, Location=detail)
                elif habit.isdigit() or content is None:
                    self.head(int(habit) if habit.isdigit() else 404, 0)
                elif habit == "endless":
                    self.send_response(200)
                    self.end_headers()
                    while not stubborn.closing.is_set():
                        self.wfile.write(bytes(8192))
                else:
                    self.send_file(habit, detail, content)

            def send_file(self, habit, detail, content):
                if habit == "wrong":
                    content = bytes(byte ^ 1 for byte in content)
                elif habit == "short":
                    content = b"<html>please log in</html>"
                self.head(200, len(content))
                if habit == "trickle":
                    for byte in content:
                        self.wfile.write(bytes([byte]))
                        time.sleep(0.05)
                self.wfile.write(content[: int(detail)] if habit in ("drop", "stall") else content)
                if habit == "stall":
                    stubborn.closing.wait()

            def head(self, status, length, **headers):
                self.send_response(status)
                told = {"Content-Length": str(length), "Connection": "close", **headers}
                for name, value in told.items():
                    self.send_header(name, value)
                self.end_headers()

        return Handler
