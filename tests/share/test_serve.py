"""The server: directions share batches and change nothing, what is wrong is refused, and nothing is to be gained."""

import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlencode

import pytest
import trained

import lander
from lander import cli
from lander.models.loading import BUILT_IN
from lander.share.serve import desk, server
from lander.share.serve.desk import Desk, Full, Request, TooLong
from lander.share.serve.models import load
from lander.share.serve.server import Server
from lander.shared.languages import Direction
from lander.translate.translator import Decoding, Translator

HOW = Decoding(max_new_tokens=6, batch_size=8)
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A routed model, one with a LoRA, and their base."""
    folders = {method: tmp_path_factory.mktemp(method) for method in ("landermt", "lora")}
    made = [trained.make(folder, method, partly=method == "landermt") for method, folder in folders.items()]
    return [*(str(one.path) for one in made), str(made[0].base)]


@pytest.fixture(scope="module")
def running(models: list[str]) -> Iterator[Server]:
    one = Server("127.0.0.1", 0)
    one.offer = load(models, ["en", "de", "fr"], "float32", None, None)
    one.desk = Desk(HOW)
    one.server_activate()
    thread = threading.Thread(target=one.serve_forever, daemon=True)
    thread.start()
    yield one
    one.shutdown()
    one.server_close()
    one.desk.close()


def send(running: Server, method: str, path: str, body: object = None, **headers: str) -> tuple[int, dict, dict]:
    """Status, content and headers of an answer; a body that is no text goes as JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", running.server_port, timeout=60)
    data = body if body is None or isinstance(body, str | bytes) else json.dumps(body)
    connection.request(method, path, data, {**({} if body is None else JSON), **headers})
    answer = connection.getresponse()
    content = answer.read()
    found = json.loads(content) if content and "json" in answer.headers["Content-Type"] else {"text": content.decode()}
    connection.close()
    return answer.status, found, dict(answer.headers)


def translate(running: Server, q: object, source: str = "en", target: str = "de", **more: object) -> object:
    status, found, _ = send(running, "POST", "/translate", {"q": q, "source": source, "target": target, **more})
    assert status == 200, found
    return found["translatedText"]


# ------------------------------------------------------------ what is answered


def test_many_requests_at_once_get_what_each_gets_alone(running: Server, models: list[str]) -> None:
    alone = lander.load(models[0])
    asked = [(f"text {number} " + "ab" * (number % 7), pair) for number in range(40) for pair in trained.DIRECTIONS]
    expected = [alone.translate([text], pair, max_new_tokens=6)[0] for text, pair in asked]
    batches = []
    offered = next(iter(running.offer.models.values())).translator
    write = offered.write

    def watch(prompts: list, directions: list, how: Decoding) -> list:
        batches.append(set(map(str, directions)))
        return write(prompts, directions, how)

    offered.write = watch
    with ThreadPoolExecutor(24) as pool:
        found = list(pool.map(lambda one: translate(running, one[0], *one[1].split("-")), asked))
    del offered.write
    assert found == expected
    assert len(set(expected)) > 3
    assert max(map(len, batches)) == 3  # all directions in one batch


def test_texts_have_lines_and_lists_have_texts(running: Server, models: list[str]) -> None:
    one, two = lander.load(models[0]).translate(["one", "two words"], "en-de", max_new_tokens=6)
    assert translate(running, "one\n\n two words \r\n") == f"{one}\n\n{two}\n"
    assert translate(running, ["two words", "", "one\none"]) == [two, "", f"{one}\n{one}"]
    assert translate(running, "") == ""
    assert translate(running, []) == []
    assert translate(running, "one", "eng", "DE", format="text", api_key="x", alternatives=3) == one
    form = urlencode({"q": "one", "source": "en", "target": "de"})
    kind = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
    assert send(running, "POST", "/translate", form, **kind)[:2] == (200, {"translatedText": one})
    twice = urlencode([("q", "one"), ("q", "two words"), ("source", "en"), ("target", "de")])
    assert send(running, "POST", "/translate", twice, **kind)[1] == {"translatedText": [one, two]}


def test_each_model_answers_for_itself(running: Server, models: list[str]) -> None:
    names = [model["name"] for model in send(running, "GET", "/models")[1]["models"]]
    assert names == ["model", "model (2)", "base"]
    for path, name in zip(models, names, strict=True):
        translator = lander.load(path)
        translator.languages = {"en": "English", "de": "German"}
        assert translate(running, "one", model=name) == translator.translate(["one"], "en-de", max_new_tokens=6)[0]


def test_languages_and_health_are_as_clients_know_them(running: Server) -> None:
    status, languages, _ = send(running, "GET", "/languages")
    assert status == 200
    assert languages[0] == {"code": "en", "name": "English", "targets": ["de", "fr"], "dir": "ltr"}
    assert send(running, "GET", "/health")[1] == {"status": "ok"}
    assert send(running, "HEAD", "/health")[:2] == (200, {"text": ""})


def test_the_page_says_what_the_routing_does(running: Server) -> None:
    routed, whole, base = send(running, "GET", "/models")[1]["models"]
    assert not any(one["layers"] for model in (whole, base) for one in model["directions"])
    there = routed["directions"][0]
    assert (there["source"], there["target"], routed["layers"]) == ("en", "de", 3)
    assert [layer["layer"] for layer in there["layers"]] == [1, 2]
    parts = {part["role"]: part for part in there["layers"][0]["parts"]}
    assert {role: part["share"] for role, part in parts.items()} == pytest.approx(
        {"general": 22 / 64, "source": 11 / 64, "target": 11 / 64, "absent": 20 / 64}
    )
    assert parts["general"]["factor"] + parts["source"]["factor"] == pytest.approx(1.0, abs=1e-3)  # the gate moves both


def test_the_page_needs_nothing_else(running: Server) -> None:
    texts = [send(running, "GET", path)[1]["text"] for path in ("/", "/page.css", "/page.js")]
    assert not re.findall(r"https?:|//\w|@import|innerHTML|eval\(", "".join(texts).replace("//  ", ""))
    assert set(re.findall(r'(?:href|src)="([^"]*)"', texts[0])) == {"data:,", "/page.css", "/page.js"}
    assert "default-src 'none'" in send(running, "GET", "/")[2]["Content-Security-Policy"]


def test_right_to_left(tmp_path: Path) -> None:
    offer = load([str(trained.base(tmp_path / "base"))], ["ar", "en", "zh-Hant"], "float32", None, None)
    assert [(one["name"], one["dir"]) for one in offer.listed()] == [
        ("Arabic", "rtl"), ("English", "ltr"), ("Chinese (Traditional)", "ltr"),
    ]  # fmt: skip


# ------------------------------------------------------------ what is refused

GOOD = {"q": "a", "source": "en", "target": "de"}


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "word"),
    [
        ("POST", "/translate", b"{", {}, 400, "application/json"),
        ("POST", "/translate", b"\xff\xfe{", {}, 400, "body"),
        ("POST", "/translate", "[" * 100_000, {}, 400, "body"),
        ("POST", "/translate", '{"q": ' + "1" * 10_000 + "}", {}, 400, "body"),
        ("POST", "/translate", [1], {}, 400, "object"),
        ("POST", "/translate", {}, {}, 400, "source"),
        ("POST", "/translate", GOOD | {"q": 7}, {}, 400, "q"),
        ("POST", "/translate", GOOD | {"q": None}, {}, 400, "q"),
        ("POST", "/translate", GOOD | {"q": ["a", {}]}, {}, 400, "q"),
        ("POST", "/translate", GOOD | {"q": "a\ud800"}, {}, 400, "surrogate"),
        ("POST", "/translate", GOOD | {"q": "a" * 10_001}, {}, 400, "line 1"),
        ("POST", "/translate", GOOD | {"q": "a\n" + "b" * 3000}, {}, 400, "line 2"),  # more tokens than positions
        ("POST", "/translate", GOOD | {"q": "a\n" * 1001}, {}, 413, "1,000"),
        ("POST", "/translate", GOOD | {"q": "a" * (1 << 20)}, {}, 413, "1,048,576"),
        ("POST", "/translate", GOOD | {"source": "auto"}, {}, 400, "source"),
        ("POST", "/translate", GOOD | {"source": "../../etc/passwd"}, {}, 400, "source"),
        ("POST", "/translate", GOOD | {"source": ["en"]}, {}, 400, "source"),
        ("POST", "/translate", GOOD | {"target": "fr-" * 5000}, {}, 400, "target"),
        ("POST", "/translate", GOOD | {"target": "xx"}, {}, 400, "there are en, de"),
        ("POST", "/translate", GOOD | {"target": "en"}, {}, 400, "does not translate"),
        ("POST", "/translate", GOOD | {"format": "html"}, {}, 400, "format"),
        ("POST", "/translate", GOOD | {"model": "/etc/passwd"}, {}, 400, "model"),
        ("POST", "/translate", GOOD | {"model": ["base"]}, {}, 400, "model"),
        ("POST", "/translate", GOOD, {"Content-Type": "text/plain"}, 415, "application/json"),
        ("POST", "/translate", GOOD, {"Content-Length": "-1"}, 411, "Content-Length"),
        ("POST", "/translate", GOOD, {"Origin": "http://elsewhere.example"}, 403, "Origin"),
        ("POST", "/translate", GOOD, {"Host": "rebound.example"}, 403, "Host"),
        ("POST", "/detect", {"q": "a"}, {}, 501, "source"),
        ("GET", "/translate?q=a", None, {}, 405, "POST"),
        ("DELETE", "/languages", None, {}, 405, "GET"),
        ("BREW", "/", None, {}, 501, ""),
        ("GET", "/page.html", None, {}, 404, ""),
        ("GET", "/../../lander.json", None, {}, 404, ""),
        ("GET", "/%2e%2e/desk.py", None, {}, 404, ""),
        ("GET", "//etc/passwd", None, {}, 404, ""),
        ("GET", "/" + "a" * 70_000, None, {}, 414, ""),
    ],
)
def test_what_is_wrong_is_refused(running: Server, method, path, body, headers, status, word) -> None:
    found, content, _ = send(running, method, path, body, **headers)
    assert (found, list(content)) == (status, ["error"])
    assert word in content["error"]
    assert "Traceback" not in content["error"]
    assert str(BUILT_IN.parent) not in content["error"]
    assert translate(running, "a")  # it goes on


def test_a_refused_body_is_not_taken_for_the_next_request(running: Server) -> None:
    smuggled = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    head = f"POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(smuggled)}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", running.server_port), timeout=20) as client:
        client.sendall(head + smuggled)
        client.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: client.recv(4096), b""))
    assert answer.count(b"HTTP/1.1") == 1
    assert answer.startswith(b"HTTP/1.1 404")


def test_connections_are_bounded(running: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    while running.slots._value < server.CONNECTIONS:  # those of other tests are ending
        time.sleep(0.05)
    monkeypatch.setattr(running, "slots", threading.BoundedSemaphore(2))
    held = [socket.create_connection(("127.0.0.1", running.server_port)) for _ in range(2)]
    time.sleep(0.2)
    with socket.create_connection(("127.0.0.1", running.server_port), timeout=20) as third:
        assert third.recv(100).startswith(b"HTTP/1.1 503")
    for client in held:
        client.close()
    for _ in range(100):
        if running.slots._value == 2:
            break
        time.sleep(0.05)
    assert translate(running, "a")
    while running.slots._value < 2:  # a thread that ends later would release the server's own
        time.sleep(0.05)


# ------------------------------------------------------------ the desk


class Held(Desk):
    """A desk whose thread does nothing: the test takes the batches."""

    def run(self) -> None:
        pass


@pytest.fixture
def held(running: Server) -> Held:
    return Held(Decoding(max_new_tokens=3, batch_size=4))


def request(running: Server, *sentences: str, model: int = 0, direction: str = "en-de") -> Request:
    return Request(list(running.offer.models.values())[model], Direction(*direction.split("-")), sentences)


def test_requests_and_models_take_turns(running: Server, held: Held) -> None:
    long, short = request(running, *"abcdefgh"), request(running, "x", direction="de-en")
    other = request(running, "y", model=2)
    for one in (long, short, other):
        held.submit(one)
    batches = [[(one, place) for one, place in held.next_batch()] for _ in range(4)]
    assert batches == [
        [(long, 0), (short, 0), (long, 1), (long, 2)],
        [(other, 0)],
        [(long, 3), (long, 4), (long, 5), (long, 6)],
        [(long, 7)],
    ]


def test_the_queue_is_bounded(running: Server, held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "ROOM", 3)
    held.submit(request(running, "a", "", "b"))
    with pytest.raises(Full):
        held.submit(request(running, "c", "d"))
    held.submit(request(running, "e"))
    monkeypatch.setattr(running, "desk", held)
    status, content, headers = send(running, "POST", "/translate", GOOD)
    assert (status, list(content), headers["Retry-After"]) == (503, ["error"], "5")
    held.drop(held.requests[0])  # its client has gone
    held.submit(request(running, "c", "d"))


def test_a_client_that_goes_leaves_the_queue(running: Server, held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "desk", held)
    body = json.dumps(GOOD)
    head = (
        f"POST /translate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    )
    with socket.create_connection(("127.0.0.1", running.server_port)) as client:
        client.sendall(f"{head}\r\n\r\n{body}".encode())
        while not held.requests:
            time.sleep(0.01)
    assert held.requests[0].done.wait(20)
    assert not held.requests[0].waiting


def test_what_fails_fails_alone(running: Server, held: Held, monkeypatch, capsys: pytest.CaptureFixture) -> None:
    write = Translator.write

    def failing(self, prompts: list, directions: list, how: Decoding) -> list:
        if any("poison" in self.codec.decode(prompt) for prompt in prompts):
            raise RuntimeError("secret")
        return write(self, prompts, directions, how)

    monkeypatch.setattr(Translator, "write", failing)
    good, bad = request(running, "a"), request(running, "poison")
    long = request(running, "b" * 3000)
    for one in (good, bad, long):
        held.submit(one)
    held.translate(held.next_batch())
    assert (good.done.is_set(), good.error) == (True, None)
    assert isinstance(long.error, TooLong)
    assert str(bad.error) == "secret"
    assert "RuntimeError: secret" in capsys.readouterr().err
    monkeypatch.setattr(Server, "desk", Desk(HOW), raising=False)
    status, content, _ = send(running, "POST", "/translate", GOOD | {"q": "poison"})
    assert status == 500
    assert "secret" not in content["error"]


def test_a_closed_desk_answers_those_that_wait(running: Server, held: Held) -> None:
    waiting = request(running, "a")
    held.submit(waiting)
    held.close()
    assert held.next_batch() == []
    assert waiting.done.is_set()
    with pytest.raises(Full):
        held.submit(request(running, "b"))


# ------------------------------------------------------------ the command


def test_the_command_serves_this_machine_alone(models, monkeypatch, capsys: pytest.CaptureFixture) -> None:
    def once(self: Server) -> None:
        assert self.server_address[0] == "127.0.0.1"
        assert self.is_local
        raise KeyboardInterrupt

    monkeypatch.setattr(server.Server, "serve_forever", once)
    cli.main(["serve", models[2], "--languages", "en", "de", "--port", "0"])
    assert "base at http://127.0.0.1:" in capsys.readouterr().err


def test_what_cannot_be_served(models, running: Server, capsys: pytest.CaptureFixture) -> None:
    for flags, message in (
        (["--port", str(running.server_port)], f"--port {running.server_port}: Address already in use"),
        (["--host", "no.such.host.invalid"], "--host no.such.host.invalid"),
        (["--port", "0"], "--languages: a base does not say"),
        (["--port", "0", "--languages", "en"], "--languages"),
        (["--port", "0", "--languages", "en", "xx"], "'xx'"),
    ):
        with pytest.raises(SystemExit):
            cli.main(["serve", models[2], *flags])
        assert message in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main(["serve", models[0], "--port", "0", "--languages", "ja", "ko"])
    assert "it translates between none of ja, ko" in capsys.readouterr().err
