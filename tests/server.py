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
    encoding: str = "identity"
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
        self.http = Quiet(("127.0.0.1", 0), self._handler())
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *error):
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()

    def add(self, path, content=b"", **how):
        self.files[path] = File(content, **how)
        return self.files[path]

    def etag(self, path):
        return f'"{hashlib.md5(self.files[path].content).hexdigest()}"'

    @property
    def ranges(self):
        """Return what each request asked for, None for the whole file."""
        return [headers.get("Range") for _, headers in self.requests]

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
                    self.plain(404, **{"X-Error-Code": "EntryNotFound"})  # as the Hub says it
                elif file.statuses:
                    self.plain(file.statuses.pop(0))
                elif file.redirect:
                    self.plain(302, Location=file.redirect)
                else:
                    self.send(file, server.etag(path) if file.etag else None)

            do_HEAD = do_GET

            def plain(self, status, **headers):
                self.send_response(status)
                for name, value in {"Content-Length": "0", **headers}.items():
                    self.send_header(name, value)
                self.end_headers()

            def send(self, file, etag):
                start, total = 0, len(file.content)
                wanted = self.headers.get("Range")
                if wanted and file.ranges and self.headers.get("If-Range") in (etag, file.dated):
                    start = int(wanted.removeprefix("bytes=").removesuffix("-")) + file.shift
                    if start >= total:
                        return self.plain(416, **{"Content-Range": f"bytes */{total}"})
                self.send_response(206 if start else 200)
                known = {"Content-Type": file.kind, "Content-Encoding": file.encoding}
                known["X-Repo-Commit"] = "a" * 40  # as the Hub says it
                known |= {"Content-Range": f"bytes {start}-{total - 1}/{total}"} if start else {}
                known |= {"ETag": etag} if etag else {}
                known |= {"Last-Modified": file.dated} if file.dated else {}
                known |= {"Content-Length": str(total - start)} if file.length else {}
                for name, value in known.items():
                    self.send_header(name, value)
                self.end_headers()
                body = file.content[start:]
                if file.cuts:
                    body = body[: file.cuts.pop(0)]
                self.close_connection = not file.length or len(body) < total - start
                if self.command == "GET":
                    self.wfile.write(body)

        return Handler
