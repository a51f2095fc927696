"""Sentences to translate: the lines of a file, or of standard input."""

import codecs
import io
import sys

from lander.data.textfiles import LONGEST_SENTENCE, TextFile
from lander.shared.errors import UserError


def read(path: str | None) -> list[str]:
    """Lines of UTF-8 text, trimmed. UserError if there is none, one is not UTF-8, or is too long to be a sentence."""
    if path is None:
        name, sentences = "standard input", _of_stream(sys.stdin.buffer)
    else:
        name = path
        with TextFile(path) as file:
            sentences = [line.strip() for line in iter(file.read_line, None)]
    if not sentences:
        raise UserError(f"{name}: no text; give one sentence a line, as in `lander translate MODEL in.txt -d en-de`")
    for number, sentence in enumerate(sentences, start=1):
        if len(sentence) > LONGEST_SENTENCE:
            raise UserError(
                f"{name}, line {number}: {len(sentence):,} characters; more than {LONGEST_SENTENCE:,} "
                "are no sentence (is every sentence on a line of its own?)"
            )
    return sentences


def _of_stream(stream: io.BufferedIOBase) -> list[str]:
    sentences = []
    text = stream.read().removeprefix(codecs.BOM_UTF8)
    if b"\n" not in text and text.count(b"\r") > 1:
        raise UserError("standard input: its lines end in a carriage return alone; convert it: tr '\\r' '\\n'")
    for number, line in enumerate(text.split(b"\n"), start=1):
        try:
            sentences.append(line.decode("utf-8").strip())
        except UnicodeDecodeError:
            raise UserError(f"standard input, line {number}: not valid UTF-8; convert the text") from None
    return sentences if sentences[-1] else sentences[:-1]
