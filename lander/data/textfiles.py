r"""Line-aligned text files, plain or gzip, read line by line, so files may have any size.

Only "\n" ends a line ("\r\n" is accepted too); characters such as U+2028 or U+0085 are part of the text. A file is read
to its end even if only some lines are wanted: files of different lengths are not aligned, and that must not pass
unnoticed.
"""

import gzip
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import BinaryIO, Self

from lander.shared.errors import UserError

BOM = b"\xef\xbb\xbf"
GZIP_MAGIC = b"\x1f\x8b"
LONGEST_SENTENCE = 10_000  # characters that a model is asked to read at once
LONGEST_LINE = 1 << 26  # bytes; a line must fit into memory, and a packed file can hold an endless one


class TextFile:
    """One text file as a stream of lines, with errors that name the file and the line."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.lines = 0  # lines read so far
        try:
            self.size = self.path.stat().st_size  # bytes on the disk
            self.raw: BinaryIO = open(self.path, "rb")  # noqa: SIM115 (closed by __exit__)
        except (OSError, ValueError) as error:
            known = {FileNotFoundError: "no such file", IsADirectoryError: "is a folder, not a text file"}
            reason = known.get(type(error)) or f"cannot be opened ({getattr(error, 'strerror', None) or error})"
            raise UserError(f"{path}: {reason}") from None
        zipped = self.path.suffix == ".gz" or self.starts_with(GZIP_MAGIC)
        self._stream = gzip.GzipFile(fileobj=self.raw) if zipped else self.raw

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self.raw.close()

    def read_line(self) -> str | None:
        """The next line without its end, or None at the end of the file."""
        data = self._read_line()
        if not data:
            return None
        if self.lines == 1:
            data = data.removeprefix(BOM)
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            likely = ", is it UTF-16?" if b"\0" in data else ""
            raise UserError(
                f"{self.path}, line {self.lines}: not valid UTF-8 (byte {error.start + 1} of the line is "
                f"0x{data[error.start]:02x}{likely}); save the file as UTF-8"
            ) from None
        if self.lines == 1:  # some files are not text by lines, though every byte is valid
            if "\0" in text:
                raise UserError(f"{self.path}, line 1: holds bytes of zero; is it UTF-16? save the file as UTF-8")
            if not text.endswith("\n") and text.count("\r") > 1:
                convert = r"tr '\r' '\n' < old > new"
                raise UserError(
                    f"{self.path}: its lines end in a carriage return alone, as on old Macs; convert it: {convert}"
                )
        return text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text

    def read_bytes(self, size: int) -> bytes:
        """The next bytes, unpacked if the file is packed, for formats other than text by lines."""
        return self._call(self._stream.read, size)

    def starts_with(self, magic: bytes) -> bool:
        """Whether the file on the disk begins with these bytes."""
        return self._call(self.raw.peek, len(magic))[: len(magic)] == magic

    def skip(self, lines: int) -> None:
        """Skip the first lines (fewer at the end of the file) without looking at their content."""
        while self.lines < lines and self._read_line():
            pass

    def count_rest(self) -> int:
        """Read to the end of the file; returns the number of lines of the whole file."""
        last = b"\n"
        while chunk := self.read_bytes(1 << 20):
            self.lines += chunk.count(b"\n")
            last = chunk[-1:]
        self.lines += last != b"\n"
        return self.lines

    @property
    def share_read(self) -> float:
        """Share of the file's bytes on the disk that were read so far, 0 to 1."""
        return self.raw.tell() / max(self.size, 1)

    def _read_line(self) -> bytes:
        data = self._call(self._stream.readline, LONGEST_LINE)
        if len(data) == LONGEST_LINE and not data.endswith(b"\n"):
            raise UserError(
                f"{self.path}, line {self.lines + 1}: more than {LONGEST_LINE:,} bytes; is it text by lines?"
            )
        self.lines += bool(data)
        return data

    def _call(self, read: Callable[[int], bytes], size: int) -> bytes:
        try:
            return read(size)
        except EOFError:
            raise UserError(f"{self.path}: the gzip file is cut short after line {self.lines}; get it again") from None
        except (gzip.BadGzipFile, zlib.error) as error:
            raise UserError(f"{self.path}: the gzip file is damaged ({error}); get it again") from None
        except OSError as error:
            raise UserError(f"{self.path}: cannot be read ({error.strerror or error})") from None


def read_aligned(
    paths: list[str | Path], start: int = 0, stop: int | None = None
) -> Iterator[tuple[int, tuple[str, ...], float]]:
    """Yield lines `start` <= n < `stop` of aligned files: (n from 0, one text per file, share of the first file read).

    The share is 0 between two thousands of lines.
    UserError if a file is empty, if files have unequal length, or if `stop` is beyond their end.
    """
    with ExitStack() as stack:
        files = [stack.enter_context(TextFile(path)) for path in paths]
        for file in files:
            file.skip(start)
        for number in count(start) if stop is None else range(start, stop):
            texts = tuple(file.read_line() for file in files)
            if None in texts:
                break
            yield number, texts, files[0].share_read if number % 1000 == 0 else 0.0
        lengths = [file.count_rest() for file in files]
    for path, length in zip(paths, lengths, strict=True):
        if length == 0:
            raise UserError(f"{path}: the file is empty")
        if length != lengths[0]:
            raise UserError(
                f"{paths[0]} has {lengths[0]:,} lines but {path} has {length:,}: "
                "line-aligned files must have equally many"
            )
    if lengths[0] <= start or (stop is not None and lengths[0] < stop):
        raise UserError(f"{paths[0]}: `lines` asks for [{start}, {stop}] but the file has {lengths[0]:,} lines")
