"""A small HTTP server on this machine that can also fail, for tests of downloads."""

import hashlib
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class File:
    """What is served under one path, and how it fails; each fault is used up by one request."""

    content: bytes = b""
    ranges: bool = True
    etag: bool = True
    dated: str = ""  # Last-Modified
    kind: str = "application/octet-stream"
    redirect: str = ""
    length: bool = True
    shift: int = 0  # a range begins this many bytes too late
    statuses: list[int] = field(default_factory=list)  # answers before the file comes
    cuts: list[int] = field(default_factory=list)  # bytes sent before the connection breaks


class Quiet(ThreadingHTTPServer):
    """Clients that go away, as those of these tests do, are no news."""

    def handle_error(self, request, client_address):
        pass


class Server:
    """Serve :class:`File` by path, and keep the requests as (path, headers)."""

    def __init__(self):
        self.files, self.requests = {}, []
        serve = self._handler()
        self.http = Quiet(("127.0.0.1", 0), serve)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def add(self, path, content=b"", **how):
        self.files[path] = File(content, **how)
        return self.files[path]

    @property
    def ranges(self):
        """Return what each request asked for, None for the whole file."""
        return [headers.get("Range") for _, headers in self.requests]

    def close(self):
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()

    def _handler(self):
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def do_GET(self):
                path = self.path.lstrip("/")
                server.requests.append((path, dict(self.headers)))
                file = server.files.get(path)
                if file is None:
                    self.plain(404)
                elif file.statuses:
                    self.plain(file.statuses.pop(0))
                elif file.redirect:
                    self.plain(302, Location=file.redirect)
                else:
                    self.send(file)

            def plain(self, status, **headers):
                self.send_response(status)
                for name, value in {"Content-Length": "0", **headers}.items():
                    self.send_header(name, value)
                self.end_headers()

            def send(self, file):
                etag = f'"{hashlib.md5(file.content).hexdigest()}"' if file.etag else None
                start, total = 0, len(file.content)
                wanted = self.headers.get("Range")
                if wanted and file.ranges and self.headers.get("If-Range") in (etag, file.dated):
                    start = int(wanted.removeprefix("bytes=").removesuffix("-")) + file.shift
                    if start >= total:
                        return self.plain(416, **{"Content-Range": f"bytes */{total}"})
                self.send_response(206 if start else 200)
                if start:
                    self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
                if etag:
                    self.send_header("ETag", etag)
                if file.dated:
                    self.send_header("Last-Modified", file.dated)
                if file.length:
                    self.send_header("Content-Length", str(total - start))
                self.send_header("Content-Type", file.kind)
                self.end_headers()
                body = file.content[start:]
                if file.cuts:
                    body = body[: file.cuts.pop(0)]
                    self.close_connection = True
                if not file.length:
                    self.close_connection = True
                self.wfile.write(body)

        return Handler
