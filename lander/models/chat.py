"""Chat templates: an instruction as a user's turn, in the words that a chat model was tuned on.

The template is rendered once around a mark. The text before and after the mark, up to the beginning of the model's
answer, is the frame of every instruction. So a template cannot react to the text, and the same text always has the same
tokens. A template that prints the date gets a fixed one; models that can think aloud are told not to.

Special tokens of the frame are tokens, those spelled out in a text are text. The tokens are exactly those of
`apply_chat_template`, except for texts that spell special tokens, which that function would encode as such.
"""

import re

from transformers import PreTrainedTokenizerBase

from lander.shared.errors import UserError, brief

MARK = "LanderMark0"
DAY = {"d": "26", "b": "Jul", "B": "July", "m": "07", "Y": "2024", "y": "24", "A": "Friday", "a": "Fri", "H": "12"}
"""The date that Llama's own template prints if it knows none, by the letters of strftime; other letters stay."""

# Put before a template, this macro replaces the function that returns the date. The empty output at the end keeps a
# line break that may follow; after a block it would be lost.
_REPLACED = "".join(f" | replace('%{letter}', '{value}')" for letter, value in DAY.items())
_CALENDAR = "{%- macro strftime_now(format) -%}{{ format" + _REPLACED + " }}{%- endmacro %}{{ '' }}"


class Chat:
    """The frame of a tokenizer's chat template. `end` is the token that ends an answer."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase):
        """UserError if there is no chat template, or it does not show a user's text once and unchanged."""
        if not tokenizer.chat_template:
            raise _fault(tokenizer, "the tokenizer has none")
        self._tokenizer = tokenizer
        added = tokenizer.added_tokens_decoder.items()
        self._special = {index: token.content for index, token in added if token.special}
        self._head, self._tail = _around(tokenizer, [{"role": "user", "content": MARK}])
        head, tail = _around(tokenizer, [{"role": "user", "content": f"\n {MARK} \n"}])
        if head not in (self._head, f"{self._head}\n ") or tail not in (self._tail, f" \n{self._tail}"):
            raise _fault(tokenizer, "it changes the text of a turn")
        self._strips = head == self._head, tail == self._tail  # white space before and after a text
        self._frame = self._special_of(self._tokens([self._head + self._tail])[0])
        # the first special token after an answer: often not the tokenizer's own end token
        turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": MARK}]
        _, after = _around(tokenizer, turns, answer=False)
        self.end: int = next(iter(self._special_of(self._tokens([after])[0])), tokenizer.eos_token_id)

    def encode(self, texts: list[str]) -> list[list[int]]:
        """Tokens of instructions in their frame, ready for the answer."""
        if not texts:
            return []
        texts = [text.lstrip() if self._strips[0] else text for text in texts]
        texts = [text.rstrip() if self._strips[1] else text for text in texts]
        found = self._tokens([self._head + text + self._tail for text in texts])
        return [
            tokens if self._special_of(tokens) == self._frame else self._encode_apart(text)
            for text, tokens in zip(texts, found, strict=True)
        ]

    def _encode_apart(self, text: str) -> list[int]:
        """The frame up to its inner special tokens and, encoded without any special token, the text between them."""
        names = map(re.escape, sorted(self._special.values(), key=len, reverse=True))
        special = re.compile("|".join(names) or "(?!)")
        head = max((match.end() for match in special.finditer(self._head)), default=0)
        tail = next((match.start() for match in special.finditer(self._tail)), len(self._tail))
        [plain] = self._tokens([self._head[head:] + text + self._tail[:tail]], split=True)
        before, after = self._tokens([self._head[:head], self._tail[tail:]])
        return [*before, *plain, *after]

    def _special_of(self, tokens: list[int]) -> list[int]:
        return [token for token in tokens if token in self._special]

    def _tokens(self, texts: list[str], split: bool = False) -> list[list[int]]:
        """Tokens of texts; `split`: special tokens that a text spells are text."""
        return self._tokenizer(texts, add_special_tokens=False, split_special_tokens=split)["input_ids"]


def _around(tokenizer: PreTrainedTokenizerBase, turns: list[dict[str, str]], answer: bool = True) -> tuple[str, str]:
    """The text before and after the mark when turns are rendered; `answer`: with the beginning of the answer."""
    try:
        template = tokenizer.get_chat_template()
        if "strftime_now" in template:
            template = _CALENDAR + template
        rendered = tokenizer.apply_chat_template(
            turns, chat_template=template, add_generation_prompt=answer, tokenize=False, enable_thinking=False
        )
    except Exception as error:  # a template is code, and may raise anything
        raise _fault(tokenizer, brief(error, 200)) from None
    parts = rendered.split(MARK)
    if len(parts) != 2:
        raise _fault(tokenizer, f"it shows the text of a turn {len(parts) - 1} times")
    return parts[0], parts[1]


def _fault(tokenizer: PreTrainedTokenizerBase, reason: str) -> UserError:
    return UserError(
        f"{tokenizer.name_or_path}: its chat template cannot be used ({reason}); set `model.prompt: plain`"
    )
