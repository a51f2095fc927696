"""Errors of the user's input, and the wrapper that prints any of them as one line."""

import contextlib
import difflib
import errno
import os
import re
import sys
from collections.abc import Callable, Iterable

TOKEN = re.compile(r"hf_\w+")  # an access token of the Hugging Face hub, which a library may put into a message
ERRORS = "LANDER_ERRORS"  # environment variable: a file to which the workflow's jobs append the line of their error
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # no room: on the disk, in the quota, in a file of limited size
LONGEST = 900  # characters of a message


class UserError(Exception):
    """An error in the user's files, config or flags.

    The message names the culprit (file, line or key), says what is wrong and what to do. It is printed without a
    traceback: a traceback is for our own bugs.
    """


def run_main(main: Callable[[], None], name: str) -> None:
    """Run a stage's `main`. A `UserError`, a full disk or full memory becomes one line and exit status 1.

    Ctrl-C ends the stage with status 130 and no traceback. A reader that has left (`lander translate ... | head`) ends
    it with status 0.
    """
    try:
        main()
        sys.stdout.flush()
    except UserError as error:
        _fail(name, str(error))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:  # no right to write, a full disk, a folder in the place of a file
        if error.errno in FULL and error.filename is None:  # the file is not named; it may be standard output
            with contextlib.suppress(OSError, ValueError):  # the rest of the buffer would fail again at exit
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            _fail(name, f"{error.strerror}; make room and run it again")
        if error.filename is None or error.strerror is None:
            raise
        _fail(name, f"{os.fsdecode(error.filename)}: {error.strerror}")
    except MemoryError as error:
        _fail(name, f"not enough memory ({brief(error)}); use a smaller model, batch or file")
    except RuntimeError as error:
        if type(error).__name__ != "OutOfMemoryError":  # torch's
            raise
        advice = "use a smaller `batch_size`, `finetune.recompute`, or more ranks with `finetune.zero_stage` 2 or 3"
        _fail(name, f"not enough memory on the GPU ({brief(error)}); {advice}")
    except UnicodeEncodeError as error:
        if error.reason != "surrogates not allowed":
            raise
        _fail(name, f"{error.object[:200]!r} is not valid UTF-8; rename the file or folder")
    except KeyboardInterrupt:
        sys.exit(130)


def one_line(text: str) -> str:
    """A text as one line that is safe on a terminal: control characters are spelled out, tokens are hidden."""
    shown = (char if char.isprintable() else " " if char.isspace() else ascii(char)[1:-1] for char in text)
    return TOKEN.sub("hf_...", "".join(shown))


def brief(error: BaseException, characters: int = 300) -> str:
    """A library's message on one line, cut to some characters; the error's type if the message is empty."""
    return one_line(" ".join(str(error).split()))[:characters] or type(error).__name__


def nearest(name: str, known: Iterable[str], otherwise: str) -> str:
    """Advice for a name that is not known: the one that is nearly the same, or something else if there is none."""
    near = difflib.get_close_matches(name, known, 1)
    return f"did you mean {near[0]}?" if near else otherwise


def _fail(name: str, message: str) -> None:
    text = one_line(message)
    if len(text) > LONGEST:  # a path of thousands of characters; the advice is at the end
        text = f"{text[: LONGEST * 2 // 3]} ... {text[-LONGEST // 3 :]}"
    line = f"lander {name}: error: {text}"
    print(line, file=sys.stderr)
    if file := os.environ.get(ERRORS):
        with contextlib.suppress(OSError), open(file, "a", encoding="utf-8") as stream:
            stream.write(f"{line}\n")
    sys.exit(1)
