"""Convert a sentencepiece BPE file (`tokenizer.model`) into a fast tokenizer that needs no code of a model's author.

Everything in the file is kept: its pieces and their numbers, its normalisation, the dummy prefix or its absence, byte
fallback. A BPE file has scores instead of merges: every pair of pieces l, r that makes a piece l + r is a merge, and
the higher the score of l + r, the earlier it is applied. Control pieces (`<s>`) have no merges: the text "<s>" stays
text. Compare the result with sentencepiece itself (`check_same`).

transformers could do part of this with protobuf, which Lander does not depend on; the few fields are read here.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, processors
from transformers import PreTrainedTokenizerFast

from lander.shared.errors import UserError

SPACE = "▁"
NORMAL, UNKNOWN, CONTROL, USER_DEFINED = 1, 2, 3, 4  # types of pieces in sentencepiece's format
BPE = 2  # type of model there
PLAIN = [
    "The quick brown fox jumps over 13 lazy dogs.",
    "Große Äpfel kosten 1.234,50 € – «oui», dit-elle; perché no?",
    "人工智能正在改变世界，2024年。",
    "اللغة العربية جميلة.",
    "Привет! नमस्ते 안녕하세요 😀 e\u0301",
    "[INST] Translate:\nEnglish: </s> is text.\n\nGerman:",
]
ODD_SPACES = [" leading", "trailing ", "two  spaces", "def f():\n        return\t1\n"]


@dataclass(frozen=True)
class SentencePiece:
    """Content of a sentencepiece file; `pieces` are (text, score, type), in the order of their numbers."""

    pieces: list[tuple[str, float, int]]
    model_type: int
    space_behind: bool  # the space mark ends a word instead of beginning it
    charsmap: bytes  # sentencepiece's compiled normalisation, empty for none
    dummy_prefix: bool  # a space before every text
    squeeze: bool  # runs of spaces become one, those at the ends are removed

    def of_type(self, *types: int) -> list[str]:
        return [text for text, _, kind in self.pieces if kind in types]


def read(path: Path) -> SentencePiece:
    """Read a sentencepiece file."""
    try:
        sentencepiece.SentencePieceProcessor(model_file=str(path))
    except (OSError, RuntimeError):
        if path.is_file():
            raise UserError(f"{path}: not a sentencepiece model; copy the real file, not a Git LFS pointer") from None
        raise UserError(f"{path}: no such file; copy it from the model's repository to make the tokenizer") from None
    pieces, trainer, normalizer = [], {}, {}
    for field, value in _fields(path.read_bytes()):
        if field == 1:
            piece = dict(_fields(value))
            score = struct.unpack("<f", piece[2])[0] if 2 in piece else 0.0
            pieces.append((piece.get(1, b"").decode("utf-8"), score, piece.get(3, NORMAL)))
        elif field == 2:
            trainer = dict(_fields(value))
        elif field == 3:
            normalizer = dict(_fields(value))
    return SentencePiece(
        pieces=pieces,
        model_type=trainer.get(3, 1),
        space_behind=bool(trainer.get(24, False)),
        charsmap=normalizer.get(2, b""),
        dummy_prefix=bool(normalizer.get(3, True)),
        squeeze=bool(normalizer.get(4, True)),
    )


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield (number, value) of the fields of a protobuf message; numbers of 4 or 8 bytes stay bytes."""
    place = 0

    def number() -> int:
        nonlocal place
        value = shift = 0
        while True:
            byte = message[place]
            place += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while place < len(message):
        key = number()
        kind = key & 7
        if kind == 0:
            yield key >> 3, number()
            continue
        length = {1: 8, 5: 4}.get(kind) or number()
        yield key >> 3, message[place : place + length]
        place += length


def merges(model: SentencePiece) -> list[tuple[str, str]]:
    """Every pair of pieces that makes a piece: by falling score of that piece, then by length of the left part."""
    score = {text: value for text, value, kind in model.pieces if kind == NORMAL}
    found = [
        (-value, cut, text)
        for text, value in score.items()
        for cut in range(1, len(text))
        if text[:cut] in score and text[cut:] in score
    ]
    return [(text[:cut], text[cut:]) for _, cut, text in sorted(found)]


def fast_tokenizer(
    path: Path, *, bos: str, eos: str, unk: str, pad: str | None, add_bos: bool
) -> PreTrainedTokenizerFast:
    """The tokenizer of a sentencepiece BPE file, as transformers' PreTrainedTokenizerFast.

    Args:
        bos, eos, unk, pad: its special tokens.
        add_bos: whether to put `bos` before every text.
    """
    model = read(path)
    if model.model_type != BPE or model.space_behind:
        raise UserError(f"{path}: only sentencepiece models of type BPE with the space mark in front can be converted")
    numbers = {text: number for number, (text, _, _) in enumerate(model.pieces)}
    for token in filter(None, (bos, eos, unk, pad)):
        if token not in numbers:
            raise UserError(f"{path}: has no piece {token}, which tokenizer_config.json names as a special token")
    bpe = models.BPE(numbers, merges(model), unk_token=unk, fuse_unk=True, byte_fallback=True)
    tokenizer = Tokenizer(bpe)
    steps = [normalizers.Precompiled(model.charsmap)] if model.charsmap else []  # sentencepiece's own, in its order
    if model.squeeze:
        steps += [normalizers.Replace(Regex(r"\A +| +\z"), ""), normalizers.Replace(Regex(" {2,}"), " ")]
    if model.dummy_prefix:
        steps.append(normalizers.Prepend(" "))
    tokenizer.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", SPACE)])
    special = sorted({*model.of_type(UNKNOWN, CONTROL), *filter(None, (bos, eos, unk, pad))}, key=numbers.get)
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in special])
    own = model.of_type(USER_DEFINED)
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=SPACE in text) for text in own])
    strip = [decoders.Strip(" ", 1, 0)] if model.dummy_prefix else []
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
    )
    if add_bos:
        template = {"single": f"{bos} $A", "pair": f"{bos} $A {bos} $B"}
        tokenizer.post_processor = processors.TemplateProcessing(**template, special_tokens=[(bos, numbers[bos])])
    named = {"bos_token": bos, "eos_token": eos, "unk_token": unk, "pad_token": pad}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named, clean_up_tokenization_spaces=False)


def check_same(tokenizer, path: Path) -> list[str]:
    """Compare a tokenizer with sentencepiece on texts in several scripts (UserError), and with unusual spaces.

    Returns:
        the texts with unusual spaces that differ; a warning is enough, since cleaned text has no such spaces.
    """
    reference = sentencepiece.SentencePieceProcessor(model_file=str(path))
    differing = [
        text
        for text in (*PLAIN, *ODD_SPACES)
        if tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"] != reference.encode(text)
    ]
    for text in differing:
        if text in PLAIN:
            raise UserError(
                f"{path}: the converted tokenizer splits {text!r} differently than sentencepiece; "
                "this file cannot be converted exactly"
            )
    return differing
