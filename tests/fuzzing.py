"""What the fuzz tests share: how many cases, what may come of one, and values that nobody expects.

`make test` tries a few cases of each, always the same ones. `LANDER_FUZZ_CASES=2000` tries thousands, other ones every
time (`make soak`); a case that fails is printed, and tried first the next time.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from lander.shared.errors import UserError, one_line

CASES = int(os.environ.get("LANDER_FUZZ_CASES", "0"))
CPU_SECONDS = 30  # that a case may take; the slowest good one takes less than one
LONE = st.characters(min_codepoint=0xD800, max_codepoint=0xDFFF)
TRICKY = (
    "", " ", ".", "..", "/", "../x", "-x", "a\0b", "\n", "\r", "\ufeff", "\u202e", "\u2028", "\x1b[2J", "nan", "1e999",
    "2024-13-45", "!!bool x", "[[", "{source}", "%s", "é", "字" * 90, "x" * 5000, "~", "null", "en", "en-de",
)  # fmt: skip

texts = st.sampled_from(TRICKY) | st.text(st.characters() | LONE, max_size=20)
scalars = st.none() | st.booleans() | st.integers() | st.sampled_from([0, -1, 10**20, 10**400]) | st.floats() | texts
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts | st.integers(), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.floats() | st.sampled_from(TRICKY),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(TRICKY), inner, max_size=3),
    max_leaves=4,
)


class Hang(BaseException):
    """A case took too long. No Exception, so that nothing of ours can catch it."""


def fuzz(cases: int) -> Callable:
    """Settings of a fuzz test: `cases` in `make test`."""
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
    quick = {"derandomize": True, "database": None} if not CASES else {"print_blob": True}
    return settings(max_examples=CASES or cases, suppress_health_check=checks, deadline=None, **quick)


def told(action: Callable[[], object]) -> str | None:
    """What an action says is wrong with its input, None where it ends well. Anything else fails the test."""
    try:
        with within(CPU_SECONDS):
            action()
    except UserError as error:
        message = one_line(str(error))
    else:
        return None
    assert message.strip()
    return message


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise `Hang` after so many seconds of the process's own time: a busy machine makes no difference."""

    def expire(*_: object) -> None:
        raise Hang

    before = signal.signal(signal.SIGVTALRM, expire)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """A file's bytes: cut, some overwritten, or with something between them."""
    kind = draw(st.sampled_from(["cut", "overwrite", "insert", "empty"]))
    place = draw(st.integers(0, max(0, len(data) - 1)))
    piece = draw(st.binary(min_size=1, max_size=8) | st.sampled_from([b"\0" * 64, b"\xff" * 64]))
    if kind == "overwrite":
        return data[:place] + piece + data[place + len(piece) :]
    return {"cut": data[:place], "insert": data[:place] + piece + data[place:], "empty": b""}[kind]
