"""What goes wrong because of the user's input, told in one line; and the wrapper that tells it."""

import os
import sys
from collections.abc import Callable


class UserError(Exception):
    """A fault in the user's files, config or flags.

    The message names the culprit (file, line or key), says what is wrong and what to do about it. It is printed
    without a traceback: a traceback is for our own bugs.
    """


def run_main(main: Callable[[], None], name: str) -> None:
    """Run a stage's `main`, turn a `UserError` into one line on stderr and exit status 1."""
    try:
        main()
    except UserError as error:
        print(f"lander {name}: error: {error}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:  # `lander translate ... | head`: the reader has left, which is not an error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
