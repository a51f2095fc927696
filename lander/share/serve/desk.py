"""The queue of requests, and the one thread that translates: what waits, of any request and direction, in one batch."""

import sys
import threading
import traceback
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from lander.share.serve.models import Served
from lander.shared.languages import Direction
from lander.translate.translator import Decoding, by_length, first_line

ROOM = 1000  # sentences that wait at a time


class Full(Exception):
    """There is no room for a request now."""


class TooLong(Exception):
    """A sentence of a request is too long for the model."""


@dataclass(eq=False)
class Request:
    """Sentences of one direction. `outputs` is complete, or `error` says why not, when `done` is set."""

    model: Served
    direction: Direction
    sentences: Sequence[str]
    outputs: list[str] = field(default_factory=list)
    error: Exception | None = None
    done: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.outputs = [""] * len(self.sentences)
        self.waiting = deque(place for place, sentence in enumerate(self.sentences) if sentence.strip())
        self.left = len(self.waiting)  # sentences without an output

    def end(self, error: Exception | None = None) -> None:
        """Answer it: with its outputs, or with an error."""
        self.error = error
        self.waiting.clear()
        self.done.set()


Sentence = tuple[Request, int]  # a place in it


class Desk:
    """Takes requests from any thread. `close` ends its own."""

    def __init__(self, decoding: Decoding):
        self.decoding = decoding
        self.requests: list[Request] = []
        self.changed = threading.Condition()
        self.closed = False
        self.thread = threading.Thread(target=self.run, name="lander serve", daemon=True)
        self.thread.start()

    def submit(self, request: Request) -> None:
        """Queue a request. Full if it does not fit: nothing is kept of it."""
        if not request.waiting:
            request.end()
            return
        with self.changed:
            if sum(len(other.waiting) for other in self.requests) + len(request.waiting) > ROOM or self.closed:
                raise Full
            self.requests.append(request)
            self.changed.notify()

    def drop(self, request: Request) -> None:
        """Forget a request for whose answer nobody waits."""
        with self.changed:
            request.end()

    def close(self) -> None:
        """Answer no more requests."""
        with self.changed:
            self.closed = True
            self.changed.notify()
        self.thread.join(timeout=10)  # a batch of long outputs may take longer

    def run(self) -> None:
        while batch := self.next_batch():
            self.translate(batch)

    def next_batch(self) -> list[Sentence]:
        """The sentences of the next batch, all of one model; none when the desk is closed.

        Requests take turns, one sentence each: a long text does not keep a short one waiting. So do models.
        """
        with self.changed:
            while not self.closed:
                self.requests = [request for request in self.requests if request.waiting]
                if self.requests:
                    break
                self.changed.wait()
            else:
                for request in self.requests:
                    request.end(InterruptedError("the server stops"))
                return []
            model = self.requests[0].model
            own = [request for request in self.requests if request.model is model]
            self.requests = [request for request in self.requests if request.model is not model] + own
            batch: list[Sentence] = []
            while len(batch) < self.decoding.batch_size and (turn := [one for one in own if one.waiting]):
                for request in turn[: self.decoding.batch_size - len(batch)]:
                    batch.append((request, request.waiting.popleft()))
            return batch

    def translate(self, batch: list[Sentence]) -> None:
        """Translate a batch and answer the requests that are complete. What fails is tried alone: it fails alone."""
        try:
            texts = self.written(batch)
        except Exception as error:
            if len(batch) > 1:
                for one in batch:
                    self.translate([one])
                return
            [(request, _)] = batch
            if not isinstance(error, TooLong):
                traceback.print_exc(file=sys.stderr)
            request.end(error)
            return
        for (request, place), text in zip(batch, texts, strict=True):
            request.outputs[place] = text
            request.left -= 1
            if not request.left:
                request.end()

    def written(self, batch: list[Sentence]) -> list[str]:
        """The translations of a batch."""
        model = batch[0][0].model
        directions = [request.direction for request, _ in batch]
        prompts = model.translator.prompts([request.sentences[place] for request, place in batch], directions)
        for (_, place), prompt in zip(batch, prompts, strict=True):
            if len(prompt) >= model.longest:
                size = f"{len(prompt):,} tokens with the prompt, and the model is made for {model.longest:,}"
                raise TooLong(f"line {place + 1}: {size}; split the text")
        texts = [""] * len(batch)
        for places in by_length(prompts, self.decoding.batch_size):
            rows = [prompts[place] for place in places], [directions[place] for place in places]
            for place, output in zip(places, model.translator.write(*rows, self.decoding), strict=True):
                texts[place] = first_line(output.text)
        return texts
