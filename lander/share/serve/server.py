"""HTTP: the LibreTranslate API, the page, and what is refused.

    POST /translate    {"q": text or list, "source": "en", "target": "de"} -> {"translatedText": text or list}
    GET  /languages    [{"code", "name", "targets"}]
    GET  /health       {"status": "ok"}
    GET  /models       what the page shows: models, their directions and routing
    GET  /             the page

A body is JSON, or a form in the URL's encoding. `model` chooses one of several models; the first is the default. Each
line of a text is a sentence. Nothing in a request names a file, and what it can take of memory and time is bounded.
"""

import contextlib
import ipaddress
import json
import re
import select
import socket
import sys
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import Any
from urllib.parse import parse_qs

from lander.data.textfiles import LONGEST_SENTENCE
from lander.share.serve.desk import ROOM, Desk, Full, Request, TooLong
from lander.share.serve.models import Offer, Served, load
from lander.shared.errors import UserError, lacking
from lander.shared.languages import CODE, Direction
from lander.translate.translator import Decoding

BODY = 1 << 20  # bytes of a request
CONNECTIONS = 200  # at a time; each is a thread
PATIENCE = 30  # seconds until a silent connection is closed
HERE = Path(__file__).parent
FILES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
Answer = dict[str, Any] | list[Any]


class Refused(Exception):
    """A request that gets an error; its reason is for the client."""

    def __init__(self, status: HTTPStatus, reason: str, **headers: str):
        super().__init__(reason)
        self.status, self.headers = status, headers


class Server(ThreadingHTTPServer):
    """Listens after `server_activate`; `desk` and `offer` are there by then."""

    daemon_threads = True
    request_queue_size = 128
    desk: Desk
    offer: Offer

    def __init__(self, host: str, port: int):
        """UserError if the address cannot be taken."""
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            self.address_family = found[0][0]
            super().__init__(found[0][4][:2], Handler, bind_and_activate=False)
            self.server_bind()
        except OSError as error:
            raise UserError(f"--host {host} --port {port}: {error.strerror}; give another host or port") from None
        self.is_local = ipaddress.ip_address(self.server_address[0]).is_loopback
        self.slots = threading.BoundedSemaphore(CONNECTIONS)

    @property
    def url(self) -> str:
        host = self.server_address[0]
        return f"http://{f'[{host}]' if ':' in host else host}:{self.server_address[1]}/"

    def server_bind(self) -> None:
        """As http.server's own, but for the look-up of the host's full name, which can take seconds."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]

    def process_request(self, request: Any, client_address: Any) -> None:
        """A thread for the connection; without a free place it is refused."""
        if not self.slots.acquire(blocking=False):
            with contextlib.suppress(OSError):
                request.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread can be started
            self.slots.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone is no error."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One connection, which may bring several requests."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "Lander", ""
    timeout = PATIENCE
    server: Server
    body_read = False

    def act(self) -> None:
        """Answer one request."""
        self.body_read = self.command in ("GET", "HEAD") and "Content-Length" not in self.headers
        try:
            self.check_host()
            content, kind = self.action()()
            self.reply(HTTPStatus.OK, content, kind)
        except Refused as refused:
            self.refuse(refused)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = act

    def action(self) -> Callable[[], tuple[bytes, str]]:
        """What the request asks for."""
        path = self.path.split("?")[0].split("#")[0]
        reads: dict[str, Callable[[], Answer]] = {
            "/languages": self.server.offer.listed,
            "/health": lambda: {"status": "ok"},
            "/models": lambda: {
                "languages": self.server.offer.listed(),
                "models": [model.facts() for model in self.server.offer.models.values()],
            },
        }
        writes: dict[str, Callable[[], Answer]] = {"/translate": self.translate, "/detect": self.detect}
        allowed = "GET, HEAD" if path in reads or path in FILES else "POST"
        if path not in {*reads, *writes, *FILES}:
            raise Refused(HTTPStatus.NOT_FOUND, "no such address; there are /, /translate, /languages and /health")
        if self.command not in allowed.split(", "):
            raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, f"use {allowed} here", Allow=allowed)
        if path in FILES:
            name, kind = FILES[path]
            return lambda: ((HERE / name).read_bytes(), kind)
        function = (reads | writes)[path]
        return lambda: (as_json(function()), "application/json; charset=utf-8")

    # ------------------------------------------------------------ what is asked for

    def translate(self) -> Answer:
        """Translations of `q`: a text, or a list of texts. Empty lines stay empty."""
        asked = self.read_body()
        model, direction = self.chosen(asked)
        if asked.get("format", "text") not in ("text", ""):
            raise Refused(HTTPStatus.BAD_REQUEST, "format: only `text` is translated")
        q = asked.get("q")
        texts = q if isinstance(q, list) else [q]
        lines = [line.strip() for text in texts for line in self.lines(text)]
        if sum(map(bool, lines)) > ROOM:
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"q: more than {ROOM:,} lines; send it in parts")
        outputs = iter(self.outputs(Request(model, direction, lines)))
        joined = ["\n".join(next(outputs) for _ in self.lines(text)) for text in texts]
        return {"translatedText": joined if isinstance(q, list) else joined[0]}

    def detect(self) -> Answer:
        raise Refused(HTTPStatus.NOT_IMPLEMENTED, "languages are not detected; name `source`")

    def chosen(self, asked: dict[str, Any]) -> tuple[Served, Direction]:
        """The model and the direction of a request."""
        offer, codes = self.server.offer, []
        model = next(iter(offer.models.values()))
        if name := asked.get("model"):
            model = offer.models.get(name) if isinstance(name, str) else None
            if model is None:
                raise Refused(HTTPStatus.BAD_REQUEST, f"model: there are {', '.join(offer.models)}")
        for key in ("source", "target"):
            value = asked.get(key)
            there = f"there are {', '.join(offer.languages)}"
            if value == "auto":
                raise Refused(HTTPStatus.BAD_REQUEST, f"{key}: languages are not detected; name it: {there}")
            code = offer.code(value) if isinstance(value, str) and len(value) < 40 and CODE.fullmatch(value) else None
            if code is None:
                raise Refused(HTTPStatus.BAD_REQUEST, f"{key}: missing, or not a language that is offered; {there}")
            codes.append(code)
        direction = Direction(*codes)
        if direction not in model.routing:
            raise Refused(HTTPStatus.BAD_REQUEST, f"target: {model.name} does not translate {direction}")
        return model, direction

    def lines(self, text: object) -> list[str]:
        """The sentences of a text."""
        if not isinstance(text, str):
            raise Refused(HTTPStatus.BAD_REQUEST, "q: missing, or not a text or a list of texts")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise Refused(HTTPStatus.BAD_REQUEST, "q: half a character (a lone surrogate); send whole ones") from None
        lines = text.split("\n")
        for number, line in enumerate(lines, start=1):
            if len(line) > LONGEST_SENTENCE:
                what = f"{len(line):,} characters; more than {LONGEST_SENTENCE:,} are no sentence"
                raise Refused(HTTPStatus.BAD_REQUEST, f"q, line {number}: {what}")
        return lines

    def outputs(self, request: Request) -> list[str]:
        """What the model makes of a request. It is dropped if the client goes."""
        try:
            self.server.desk.submit(request)
        except Full:
            busy = "too many sentences wait; try again"
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, busy, **{"Retry-After": "5"}) from None
        while not request.done.wait(0.5):
            if self.client_has_gone():
                self.server.desk.drop(request)
                raise ConnectionAbortedError
        if isinstance(request.error, TooLong):
            raise Refused(HTTPStatus.BAD_REQUEST, f"q: {request.error}")
        if request.error:
            reason = lacking(request.error) or "the model failed; its server has printed why"
            raise Refused(HTTPStatus.INTERNAL_SERVER_ERROR, reason)
        return request.outputs

    def client_has_gone(self) -> bool:
        """Whether the other side has closed the connection."""
        poll = select.poll()
        poll.register(self.connection, select.POLLIN)
        return bool(poll.poll(0)) and not self.connection.recv(1, socket.MSG_PEEK)

    # ------------------------------------------------------------ HTTP

    def check_host(self) -> None:
        """A page elsewhere may not use the server through a visitor's browser.

        So a name that leads to this machine is no address of a server that only this machine may use, and a browser
        that sends what another page has asked for says whose it is.
        """
        host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
        name = host.rpartition(":")[0] if re.search(r":\d+$", host) else host
        if self.server.is_local and name not in ("localhost", "127.0.0.1", "[::1]", self.server.server_name):
            raise Refused(HTTPStatus.FORBIDDEN, f"Host: call this server {self.server.url}")
        if origin not in (None, f"http://{host}", f"https://{host}"):
            raise Refused(HTTPStatus.FORBIDDEN, "Origin: other pages may not use this server")

    def read_body(self) -> dict[str, Any]:
        """The values of a request, from JSON or a form."""
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch("[0-9]{1,12}", length):
            raise Refused(HTTPStatus.LENGTH_REQUIRED, "Content-Length is missing or wrong")
        if int(length) > BODY:
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"more than {BODY:,} bytes; send it in parts")
        kind = self.headers.get_content_type()
        if kind not in ("application/json", "application/x-www-form-urlencoded"):
            raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Content-Type: send application/json")
        data = self.rfile.read(int(length))
        self.body_read = True
        try:
            if kind == "application/json":
                found = json.loads(data)
            else:
                values = parse_qs(data.decode(), keep_blank_values=True, errors="strict", max_num_fields=ROOM)
                found = {key: value if len(value) > 1 else value[0] for key, value in values.items()}
        except (ValueError, RecursionError):
            raise Refused(HTTPStatus.BAD_REQUEST, f"the body is not {kind} in UTF-8") from None
        if not isinstance(found, dict):
            raise Refused(HTTPStatus.BAD_REQUEST, 'the body is no object, as {"q": "Hello", "source": "en", ...}')
        return found

    def reply(self, status: HTTPStatus, content: bytes, kind: str, **headers: str) -> None:
        """Send an answer of a media type; after HEAD its headers alone."""
        self.send_response(status)
        for name, value in (HEADERS | headers).items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def refuse(self, refused: Refused) -> None:
        """Say why, as LibreTranslate does. What is unread of a request's body would be taken for the next request."""
        headers = dict(refused.headers)
        if not self.body_read:
            headers["Connection"] = "close"  # http.server then closes it
        self.reply(refused.status, as_json({"error": str(refused)}), "application/json; charset=utf-8", **headers)
        if not self.body_read:
            self.drain()

    def drain(self) -> None:
        """Take in some of what is still sent: else the client would see a broken connection before the answer."""
        self.connection.settimeout(1)
        with contextlib.suppress(OSError):
            for _ in range(8 * BODY >> 16):
                if not self.connection.recv(1 << 16):
                    return

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What http.server itself refuses: a request that cannot be read."""
        self.close_connection = True
        if not hasattr(self, "headers"):
            self.command = ""
        status = HTTPStatus(code)
        reason = as_json({"error": message or status.phrase})
        self.reply(status, reason, "application/json; charset=utf-8", Connection="close")

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: requests are private."""


def as_json(content: Answer) -> bytes:
    return json.dumps(content, ensure_ascii=False).encode("utf-8", "replace")


def serve(paths: list[str], host: str, port: int, decoding: Decoding, **loading: Any) -> None:
    """Load models (`lander.share.serve.models.load`) and serve them until Ctrl-C."""
    server = Server(host, port)  # an address that is taken shows before weights are loaded
    server.offer = load(paths, **loading)
    server.desk = Desk(decoding)
    server.server_activate()
    if not server.is_local:
        print("warning: whoever reaches this machine can use the server; it asks for no password", file=sys.stderr)
    try:
        print(f"lander serve: {', '.join(server.offer.models)} at {server.url} (Ctrl-C stops it)", file=sys.stderr)
        server.serve_forever()
    except KeyboardInterrupt:
        print("lander serve: stopped", file=sys.stderr)
    finally:
        server.server_close()
        server.desk.close()
