r"""Line-aligned text files, plain or gzip, read one line at a time whatever their size.

Only "\n" ends a line ("\r\n" is understood too); characters such as U+2028 or U+0085 are part of the text. A file is
read to its end even where only some of its lines are asked for: files of different length are not aligned, and that
must not go unnoticed.
"""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, Self

from lander.shared.errors import UserError

BOM = b"\xef\xbb\xbf"
GZIP_MAGIC = b"\x1f\x8b"
LONGEST_SENTENCE = 10_000  # characters; what a model is asked to read at once
LONGEST_LINE = 1 << 26  # bytes; a line must fit into the memory, and a packed file can hold one without end


class TextFile:
    """One text file as a stream of lines, with errors that name the file and the line.

    Raises (on opening and on reading):
        UserError: no such file, a folder, not readable, a .gz that is cut short or damaged, invalid UTF-8.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.lines = 0  # lines read so far
        try:
            self.size = self.path.stat().st_size
            self._raw: BinaryIO = open(self.path, "rb")  # noqa: SIM115 (closed by close())
        except FileNotFoundError:
            raise UserError(f"{path}: no such file") from None
        except IsADirectoryError:
            raise UserError(f"{path}: is a folder, not a text file") from None
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: cannot be opened ({getattr(error, 'strerror', None) or error})") from None
        zipped = self.path.suffix == ".gz" or self._call(self._raw.peek, 2)[:2] == GZIP_MAGIC
        self._stream = gzip.GzipFile(fileobj=self._raw) if zipped else self._raw

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self._raw.close()

    def read_line(self) -> str | None:
        """The next line without its end, or None at the end of the file."""
        data = self._read_line()
        if not data:
            return None
        if self.lines == 0:
            data = data.removeprefix(BOM)
        self.lines += 1
        text = self._decode(data)
        if self.lines == 1:
            self._check_first(text)
        return text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text

    def _decode(self, data: bytes) -> str:
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            likely = ", is it UTF-16?" if b"\0" in data else ""
            raise UserError(
                f"{self.path}, line {self.lines}: not valid UTF-8 (byte {error.start + 1} of the line is "
                f"0x{data[error.start]:02x}{likely}); save the file as UTF-8"
            ) from None

    def read_bytes(self, size: int) -> bytes:
        """The next bytes (unpacked, where the file is packed), for formats that are not text by lines."""
        return self._call(self._stream.read, size)

    def starts_with(self, magic: bytes) -> bool:
        """Whether the file's first bytes are these, as they are on the disk."""
        return self._call(self._raw.peek, len(magic))[: len(magic)] == magic

    @property
    def raw(self) -> BinaryIO:
        """The file as it is on the disk."""
        return self._raw

    def skip(self, lines: int) -> None:
        """Pass over lines (fewer at the end of the file), without looking at what is in them."""
        for _ in range(lines):
            if not self._read_line():
                return
            self.lines += 1

    def count_rest(self) -> int:
        """Read to the end of the file; the number of lines of the whole file."""
        last = b"\n"
        while chunk := self._call(self._stream.read, 1 << 20):
            self.lines += chunk.count(b"\n")
            last = chunk[-1:]
        self.lines += last != b"\n"
        return self.lines

    @property
    def share_read(self) -> float:
        """Share of the file's bytes (compressed ones, if it is) read so far."""
        return self._raw.tell() / max(self.size, 1)

    def _read_line(self) -> bytes:
        data = self._call(self._stream.readline, LONGEST_LINE)
        if len(data) == LONGEST_LINE and not data.endswith(b"\n"):
            raise UserError(
                f"{self.path}, line {self.lines + 1}: more than {LONGEST_LINE:,} bytes; is it text by lines?"
            )
        return data

    def _check_first(self, text: str) -> None:
        """The first line tells of files that are no text by lines though every byte of them is valid."""
        if "\0" in text:
            raise UserError(f"{self.path}, line 1: holds bytes of zero; is it UTF-16? save the file as UTF-8")
        if not text.endswith("\n") and text.count("\r") > 1:
            raise UserError(
                f"{self.path}: its lines end in a carriage return alone, as on old Macs, so it is one; convert it: "
                f"tr '\\r' '\\n' < old > new"
            )

    def _call(self, read: object, *arguments: int) -> bytes:
        try:
            return read(*arguments)
        except EOFError:
            raise UserError(f"{self.path}: the gzip file is cut short after line {self.lines}; fetch it anew") from None
        except (gzip.BadGzipFile, zlib.error) as error:
            raise UserError(f"{self.path}: not a sound gzip file ({error}); fetch it anew") from None
        except OSError as error:
            raise UserError(f"{self.path}: cannot be read ({error.strerror or error})") from None


def read_aligned(
    paths: list[str | Path], start: int = 0, stop: int | None = None
) -> Iterator[tuple[int, tuple[str, ...], float]]:
    """Lines `start` <= n < `stop` of aligned files: (n from 0, one text per file, share of the first file read).

    Raises:
        UserError: an empty file, files of unequal length, `stop` beyond their end, and all that `TextFile` raises.
    """
    with ExitStack() as stack:
        files = [stack.enter_context(TextFile(path)) for path in paths]
        for file in files:
            file.skip(start)
        number = start
        share = 0.0
        while stop is None or number < stop:
            texts = tuple(file.read_line() for file in files)
            if None in texts:
                break
            if number % 1000 == 0:
                share = files[0].share_read
            yield number, texts, share
            number += 1
        _check_lengths(files, start, stop)


def _check_lengths(files: list[TextFile], start: int, stop: int | None) -> None:
    """All files have the same number of lines, some, and enough of them for the range."""
    counts = [file.count_rest() for file in files]
    for file, count in zip(files, counts, strict=True):
        if count == 0:
            raise UserError(f"{file.path}: the file is empty")
        if count != counts[0]:
            raise UserError(
                f"{files[0].path} has {counts[0]:,} lines but {file.path} has {count:,}: "
                "line-aligned files must have equally many"
            )
    if counts[0] <= start or (stop is not None and counts[0] < stop):
        raise UserError(f"{files[0].path}: `lines` asks for [{start}, {stop}] but the file has {counts[0]:,} lines")
