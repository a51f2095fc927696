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
AGAIN = "run it again; no file is damaged"
LACKS = (  # what the machine lacks: words of an error of the system or of a library -> what is said
    (
        r"(not enough|out of) memory|can(no|')t allocate memory|(unable|failed) to allocate|bad_alloc|alloc of size "
        r"|failed to map segment",
        "not enough memory ({}); use a smaller model, batch or file, or raise the limit (`ulimit -v`)",
    ),
    (
        r"too many open files|os error (23|24)\b",
        f"too many open files ({{}}); raise the limit (`ulimit -n 4096`) and {AGAIN}",
    ),
    (
        r"can't start new thread|resource temporarily unavailable|os error 11\b",
        f"no thread or process can be started ({{}}); use fewer threads, or raise the limit (`ulimit -u`), and {AGAIN}",
    ),
)
GPU = "use a smaller `batch_size`, `finetune.recompute`, or more ranks with `finetune.zero_stage` 2 or 3"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # no room: on the disk, in the quota, in a file of limited size
LONGEST = 900  # characters of a message


class UserError(Exception):
    """An error in the user's files, config or flags.

    The message names the culprit (file, line or key), says what is wrong and what to do. It is printed without a
    traceback: a traceback is for our own bugs. If it was raised because the machine lacks something (`lacking`), it
    says so: readers of files take any error of a library for a damaged file, which is to be removed.
    """

    def __str__(self) -> str:
        return lacking(self.__context__) or super().__str__()


def lacking(error: BaseException | None) -> str | None:
    """What the machine lacks, and what to do, if an error or one that led to it says so: memory, files, threads."""
    while error is not None:
        if type(error).__name__ == "OutOfMemoryError":  # torch's
            return f"not enough memory on the GPU ({brief(error)}); {GPU}"
        if isinstance(error, MemoryError | SystemError):  # the latter is what C code without memory leaves
            return LACKS[0][1].format(brief(error))
        for words, said in () if isinstance(error, UserError) else LACKS:
            if re.search(words, str(error), re.IGNORECASE):
                return said.format(brief(error))
        error = error.__cause__ or error.__context__
    return None


def run_main(main: Callable[[], None], name: str) -> None:
    """Run a stage's `main`. An error of the user or of the machine becomes one line and exit status 1.

    Ctrl-C ends the stage with status 130 and no traceback. A reader that has left (`lander translate ... | head`) ends
    it with status 0.
    """
    open_streams()
    try:
        main()
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_output()
        sys.exit(0)
    except KeyboardInterrupt:
        sys.exit(130)
    except BaseException as error:  # a panic of a library in Rust is no Exception
        if isinstance(error, SystemExit) or (message := _told(error)) is None:
            raise
        _fail(name, message)


def open_streams() -> None:
    """Give a process whose standard streams are closed (`<&-`, `2>&-`) empty ones.

    The next files that it opens would take their numbers, and get what is printed; and `print` takes standard output
    where there is no standard error.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))  # the lowest free number


def _told(error: BaseException) -> str | None:
    """The line for an error of the user or of the machine; None for a bug of ours."""
    if isinstance(error, UserError):
        return str(error)
    if said := lacking(error):
        return said
    if isinstance(error, OSError) and error.strerror:  # no right to write, a full disk, a folder in the place of a file
        if error.filename is not None:
            return f"{os.fsdecode(error.filename)}: {error.strerror}"
        if error.errno in FULL:  # the file is not named; it may be standard output
            _drop_output()
            return f"{error.strerror}; make room and run it again"
    if isinstance(error, UnicodeEncodeError) and error.reason == "surrogates not allowed":
        return f"{error.object[:200]!r} is not valid UTF-8; rename the file or folder"
    return None


def _drop_output() -> None:
    """What is left in standard output's buffer would fail again at exit."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr)
    if file := os.environ.get(ERRORS):
        with contextlib.suppress(OSError), open(file, "a", encoding="utf-8") as stream:
            stream.write(f"{line}\n")
    sys.exit(1)
