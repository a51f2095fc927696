r"""Line-aligned text files, plain or packed (gzip, xz, lzma, bzip2, zstd, zip), read line by line: of any size.

A format is known by the first bytes of the file. Nothing is unpacked to the disk.

Only "\n" ends a line ("\r\n" is accepted too); characters such as U+2028 or U+0085 are part of the text. A file is read
to its end even if only some lines are wanted: files of different lengths are not aligned, and that must not pass
unnoticed.
"""

import bz2
import gzip
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO, Self

from lander.shared.errors import UserError

LFS = b"version https://git-lfs"
BOM = b"\xef\xbb\xbf"
CHUNK = 1 << 16  # bytes read at a time
LONGEST_SENTENCE = 10_000  # characters that a model is asked to read at once
LONGEST_LINE = 1 << 26  # bytes; a line must fit into memory, and a packed file can hold an endless one


def _zstd(raw: BinaryIO) -> BinaryIO:
    import pyarrow  # Python has no zstd before 3.14

    return io.BufferedReader(pyarrow.CompressedInputStream(raw, "zstd"))


class _Streams(io.RawIOBase):
    """Packed streams, one behind the other. (Python's own files take a damaged second one for the end.)"""

    def __init__(self, new: Callable[[], Any], raw: BinaryIO) -> None:
        self._new, self._raw, self._part, self._left = new, raw, None, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while True:
            if not self._left and (self._part is None or self._part.needs_input):
                self._left = self._raw.read(CHUNK)
                if not self._left and self._part is not None:
                    raise EOFError
                if not self._left:
                    return 0
            if self._part is None:
                self._left = self._left.lstrip(b"\0")  # which may fill up the end
                if not self._left:
                    continue
                self._part = self._new()
            data = self._part.decompress(self._left, len(buffer))
            self._left = b""
            if self._part.eof:
                self._left, self._part = self._part.unused_data, None
            if data:
                buffer[: len(data)] = data
                return len(data)


def _streams(new: Callable[[], Any], raw: BinaryIO) -> BinaryIO:
    return io.BufferedReader(_Streams(new, raw), CHUNK)


PACKED = {  # format -> how the file begins, what unpacks it
    "gzip": (rb"\x1f\x8b", lambda raw: gzip.GzipFile(fileobj=raw)),
    "xz": (rb"\xfd7zXZ\0", partial(_streams, lzma.LZMADecompressor)),
    "lzma": (rb"\x5d\0\0", partial(_streams, lzma.LZMADecompressor)),
    "bzip2": (rb"BZh[1-9](1AY&SY|\x17\x72\x45\x38\x50\x90)", partial(_streams, bz2.BZ2Decompressor)),
    "zstd": (rb"\x28\xb5\x2f\xfd", _zstd),
    "zip": (rb"PK(\x03\x04|\x05\x06)", None),  # the second: an empty archive
}
ENDS = {".gz": "gzip", ".xz": "xz", ".lzma": "lzma", ".bz2": "bzip2", ".zst": "zstd", ".zip": "zip"}
FOREIGN = {  # what is not read -> how the file, unpacked, begins
    "a Git LFS pointer, which stands for a file (get it with `git lfs pull`)": LFS,
    "a web page": rb"(?i)\s*<(!doctype html\b|html[^>]*>\s*<(head|meta|body)\b)",
    "XML or SGML (name a translation memory as a tmx source)": rb"(?i)\s*<(\?xml|tmx|xliff|srcset|refset|tstset)\b",
    "an RTF document": rb"\{\\rtf",
    "a PDF": rb"%PDF-",
    "an Office document": rb"\xd0\xcf\x11\xe0",
    "an SQLite database": rb"SQLite format 3\0",
    "a Parquet file (name its folder as an hf source)": rb"PAR1",
    "an Arrow file (name its folder as an hf source)": rb"ARROW1|\xff\xff\xff\xff.{2}\0\0",
    "a tar archive": rb"(?s).{257}ustar",
    "a 7z archive": rb"7z\xbc\xaf\x27\x1c",
    "a rar archive": rb"Rar!\x1a\x07",
    "an lz4 file": rb"\x04\x22\x4d\x18",
    "an lzip file": rb"LZIP[\0\1]",
    "a file of `compress` (.Z)": rb"\x1f\x9d",
    "a snappy file": rb"\xff\x06\0\0sNaPpY",
}
PEEKED = 512  # bytes
DAMAGE = (gzip.BadGzipFile, zlib.error, lzma.LZMAError, zipfile.BadZipFile, ValueError)


def open_raw(path: str | Path) -> BinaryIO:
    """The bytes of a file, which may be an address."""
    if "://" not in str(path):
        return open(path, "rb")
    import fsspec

    return io.BufferedReader(fsspec.open(str(path), "rb").open())


def bare(name: str) -> str:
    """A file's name without the end that says how it is packed."""
    return name.removesuffix(next(filter(name.endswith, ENDS), ""))


class TextFile:
    """One text file as a stream of lines, with errors that name the file and the line."""

    def __init__(self, path: str | Path, end: str = "") -> None:
        """`path` may be an address. `end`: of the names of files in a zip archive that count; exactly one must."""
        self.path = Path(path)
        self.lines = 0  # lines read so far
        try:
            self.size = 0 if "://" in str(path) else self.path.stat().st_size  # bytes on the disk
            self.raw = open_raw(path)
        except (OSError, ValueError) as error:
            known = {FileNotFoundError: "no such file", IsADirectoryError: "is a folder, not a text file"}
            reason = known.get(type(error)) or f"cannot be opened ({getattr(error, 'strerror', None) or error})"
            raise UserError(f"{path}: {reason}") from None
        begin = self.begin()
        found = (name for name, (magic, _) in PACKED.items() if re.match(magic, begin))
        self.packed = next(found, ENDS.get(self.path.suffix.lower()) if begin else None)  # an empty file is empty
        if self.packed == "zip":
            self.stream = self._call(self._open_member, end)
        else:
            self.stream = PACKED[self.packed][1](self.raw) if self.packed else self.raw

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # of damaged zstd
            self.stream.close()
        self.raw.close()

    def read_line(self) -> str | None:
        """The next line without its end, or None at the end of the file."""
        if not self.lines:
            self.refuse_foreign()
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
        return self._call(self.stream.read, size)

    def refuse_foreign(self, xml: bool = False) -> None:
        """UserError if the file, unpacked, begins as one of a format that is no text by lines; it may be `xml`."""
        data = self._call(self.stream.peek, PEEKED)[:PEEKED].removeprefix(BOM)
        foreign = next((name for name, magic in FOREIGN.items() if re.match(magic, data)), None)
        if foreign and not (xml and data.lstrip().startswith(b"<")):
            raise UserError(f"{self.path}: is {foreign}, not text; unpack or convert it, and name the text")

    def begin(self) -> bytes:
        """The first bytes of the file on the disk, before anything is read."""
        return self._call(self.raw.peek, PEEKED)[:PEEKED]

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
        data = self._call(self.stream.readline, LONGEST_LINE)
        if len(data) == LONGEST_LINE and not data.endswith(b"\n"):
            raise UserError(
                f"{self.path}, line {self.lines + 1}: more than {LONGEST_LINE:,} bytes; is it text by lines?"
            )
        self.lines += bool(data)
        return data

    def _open_member(self, end: str) -> BinaryIO:
        """The one file of a zip archive whose name ends so."""
        archive = zipfile.ZipFile(self.raw)
        members = [item for item in archive.infolist() if not item.is_dir()]
        fitting = [item for item in members if item.filename.lower().endswith(end)]
        if len(fitting) != 1:
            names = ", ".join(item.filename[:60] for item in members[:5]) or "nothing"
            wanted = f"one {end} file" if end else "one file"
            raise UserError(
                f"{self.path}: must hold exactly {wanted}, found {len(fitting)} (in it: {names}); "
                "unpack it, and name the files in it"
            )
        return archive.open(fitting[0])

    def _call(self, action: Callable[[Any], Any], argument: Any) -> Any:
        """`action(argument)`, which reads; what is wrong with the file becomes a UserError."""
        packed = getattr(self, "packed", None)
        try:
            return action(argument)
        except (RuntimeError, NotImplementedError) as error:  # a password, or an unknown compression
            raise UserError(f"{self.path}: cannot be unpacked ({error}); unpack it by hand") from None
        except EOFError:
            raise UserError(
                f"{self.path}: the {packed} file is cut short after line {self.lines}; get it again"
            ) from None
        except (*DAMAGE, OSError) as error:
            if packed and getattr(error, "errno", None) is None:  # bzip2 and zstd raise OSErrors without one
                raise UserError(f"{self.path}: the {packed} file is damaged ({error}); get it again") from None
            reason = getattr(error, "strerror", None) or error
            raise UserError(f"{self.path}: cannot be read ({reason})") from None


def begins(path: str | Path) -> None:
    """UserError if the first line of a file cannot be read: an archive, another encoding, a damaged file."""
    with TextFile(path) as file:
        file.read_line()


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
