"""What goes wrong because of the user's input, told in one line; and the wrapper that tells it."""

import contextlib
import errno
import os
import re
import sys
from collections.abc import Callable

TOKEN = re.compile(r"hf_\w+")  # of the Hugging Face hub; a library may put one into a message

ERRORS = "LANDER_ERRORS"  # environment: a file to which the workflow's jobs add the line with which they fail
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
LONGEST = 900  # characters of a message


class UserError(Exception):
    """A fault in the user's files, config or flags.

    The message names the culprit (file, line or key), says what is wrong and what to do about it. It is printed
    without a traceback: a traceback is for our own bugs.
    """


def run_main(main: Callable[[], None], name: str) -> None:
    """Run a stage's `main`, turn a `UserError`, and what a disk or the memory refuses, into one line and exit status 1.

    Ctrl-C ends it as it ends other programs, with exit status 130 and no traceback.
    """
    try:
        main()
        sys.stdout.flush()
    except UserError as error:
        _fail(name, str(error))
    except BrokenPipeError:  # `lander translate ... | head`: the reader has left, which is not an error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:  # no right to write, a full disk, a folder in the place of a file
        if error.errno in FULL and error.filename is None:  # what is written to, standard output too, is not said
            with contextlib.suppress(OSError, ValueError):  # what is left in its buffer would fail again at exit
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
        told = (
            "use a smaller batch (`batch_size`), `finetune.recompute`, or more ranks with `finetune.zero_stage` 2 or 3"
        )
        _fail(name, f"not enough memory on the GPU ({brief(error)}); {told}")
    except UnicodeEncodeError as error:
        if error.reason != "surrogates not allowed":
            raise
        _fail(name, f"{error.object[:200]!r} is not valid UTF-8; give files and folders names that are")
    except KeyboardInterrupt:
        sys.exit(130)


def one_line(text: str) -> str:
    """A text as one line that does nothing to a terminal: control characters are spelled out, tokens are hidden."""
    shown = (char if char.isprintable() else " " if char.isspace() else ascii(char)[1:-1] for char in text)
    return TOKEN.sub("hf_...", "".join(shown))


def brief(error: BaseException, characters: int = 300) -> str:
    """What a library says of a fault, on one line, or the fault's name."""
    return one_line(" ".join(str(error).split()))[:characters] or type(error).__name__


def _fail(name: str, message: str) -> None:
    told = one_line(message)
    if len(told) > LONGEST:  # a path of thousands of characters; the remedy stands at the end
        told = f"{told[: LONGEST * 2 // 3]} ... {told[-LONGEST // 3 :]}"
    line = f"lander {name}: error: {told}"
    print(line, file=sys.stderr)
    if file := os.environ.get(ERRORS):
        with contextlib.suppress(OSError), open(file, "a", encoding="utf-8") as stream:
            stream.write(f"{line}\n")
    sys.exit(1)
