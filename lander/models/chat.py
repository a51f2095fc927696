"""Chat templates: an instruction as a user's turn, in the words that a chat model was tuned on.

The template is rendered once, around a mark; what stands before the mark and behind it (up to where the model's answer
begins) is the frame of every instruction. So a template cannot look at the text, and the same text always has the same
tokens. A template that prints the date is given a fixed one, and models that can think aloud are told not to.

The frame's special tokens are tokens, those that a text spells are text. Tokens are exactly those of
`apply_chat_template`, but for texts that spell special tokens, which that function would take for real ones.
"""

import re

from transformers import PreTrainedTokenizerBase

from lander.shared.errors import UserError

MARK = "LanderMark0"
DAY = {"d": "26", "b": "Jul", "B": "July", "m": "07", "Y": "2024", "y": "24", "A": "Friday", "a": "Fri", "H": "12"}
"""What Llama's own template says where it knows no date, by the letters of strftime; other letters stay as they are."""

# Before a template: a function of this name goes before the one that tells the day. An output, even an empty one, keeps
# the line break that may follow; after a block it would be lost.
_CALENDAR = "".join(
    ["{%- macro strftime_now(format) -%}{{ format"]
    + [f" | replace('%{letter}', '{value}')" for letter, value in DAY.items()]
    + [" }}{%- endmacro %}{{ '' }}"]
)


class Chat:
    """The frame of a tokenizer's chat template. `end`: the token that ends an answer."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase):
        """
        Raises:
            UserError: no chat template, or one that does not show a user's text once and as it is.
        """
        if not tokenizer.chat_template:
            raise _fault(tokenizer, "the tokenizer has none")
        self._tokenizer = tokenizer
        self._special = {index for index, token in tokenizer.added_tokens_decoder.items() if token.special}
        rendered = _render(tokenizer, [{"role": "user", "content": MARK}])
        self._head, self._tail = _around(tokenizer, rendered)
        head, tail = _around(tokenizer, _render(tokenizer, [{"role": "user", "content": f"\n {MARK} \n"}]))
        if head not in (self._head, f"{self._head}\n ") or tail not in (self._tail, f" \n{self._tail}"):
            raise _fault(tokenizer, "it changes the text of a turn")
        self._strips = head == self._head, tail == self._tail
        self._frame = self._special_of(self._encode(self._head + self._tail))
        self.end: int = self._end()

    def encode(self, texts: list[str]) -> list[list[int]]:
        """Tokens of instructions in their frame, ready for the answer."""
        if not texts:
            return []
        texts = [self._stripped(text) for text in texts]
        found = self._encode_all([self._head + text + self._tail for text in texts])
        return [
            tokens if self._special_of(tokens) == self._frame else self._encode_apart(text)
            for text, tokens in zip(texts, found, strict=True)
        ]

    def _encode_apart(self, text: str) -> list[int]:
        """The frame's ends up to their special tokens, and between them the text with nothing special in it."""
        names = [re.escape(token.content) for token in self._tokenizer.added_tokens_decoder.values() if token.special]
        special = re.compile("|".join(sorted(names, key=len, reverse=True)) or "(?!)")
        head = max((match.end() for match in special.finditer(self._head)), default=0)
        tail = next((match.start() for match in special.finditer(self._tail)), len(self._tail))
        middle = self._head[head:] + text + self._tail[:tail]
        plain = self._tokenizer(middle, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return [*self._encode(self._head[:head]), *plain, *self._encode(self._tail[tail:])]

    def _end(self) -> int:
        """The first special token behind an answer: often not the tokenizer's own end token."""
        turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": MARK}]
        _, behind = _around(self._tokenizer, _render(self._tokenizer, turns, answer=False))
        return next(iter(self._special_of(self._encode(behind))), self._tokenizer.eos_token_id)

    def _stripped(self, text: str) -> str:
        text = text.lstrip() if self._strips[0] else text
        return text.rstrip() if self._strips[1] else text

    def _special_of(self, tokens: list[int]) -> list[int]:
        return [token for token in tokens if token in self._special]

    def _encode(self, text: str) -> list[int]:
        return self._encode_all([text])[0] if text else []

    def _encode_all(self, texts: list[str]) -> list[list[int]]:
        return self._tokenizer(texts, add_special_tokens=False, split_special_tokens=False)["input_ids"]


def _render(tokenizer: PreTrainedTokenizerBase, turns: list[dict[str, str]], answer: bool = True) -> str:
    """Turns as text, with the beginning of the answer where it is wanted."""
    try:
        template = tokenizer.get_chat_template()
        if "strftime_now" in template:
            template = _CALENDAR + template
        return tokenizer.apply_chat_template(
            turns, chat_template=template, add_generation_prompt=answer, tokenize=False, enable_thinking=False
        )
    except Exception as error:  # a template is code, and may raise anything
        raise _fault(tokenizer, " ".join(str(error).split())[:200] or type(error).__name__) from None


def _around(tokenizer: PreTrainedTokenizerBase, rendered: str) -> tuple[str, str]:
    """What stands before the mark and behind it."""
    parts = rendered.split(MARK)
    if len(parts) != 2:
        raise _fault(tokenizer, f"it shows the text of a turn {len(parts) - 1} times")
    return parts[0], parts[1]


def _fault(tokenizer: PreTrainedTokenizerBase, reason: str) -> UserError:
    return UserError(
        f"{tokenizer.name_or_path}: no chat template that can be used ({reason}); set `model.prompt: plain`"
    )
