"""Between text and tokens: one way to write a prompt, a translation and a sentence, in training and in decoding alike.

- The tokens of a prompt are made apart from those of its translation, so they cannot differ between training (prompt
  and translation) and decoding (prompt alone).
- What the tokenizer's own convention puts before a text (LLaMA: `<s>`; BLOOM and Qwen: nothing) stands once before the
  prompt and never before the translation; what it puts behind a text is left out, the end token is ours to place.
- Special-token strings in a text stay text (`split_special_tokens`).
- Where the model is a chat model, and the config wants it (`model.prompt`), a prompt stands as a user's turn in the
  tokenizer's chat template, and the token that ends a turn ends a translation (lander.models.chat). The tokenizer
  remembers it: saved and loaded again, as with a trained model, it encodes as it did.
- Padding is known by its place, never by its token: it may have the same number as the end token.
"""

from dataclasses import dataclass

import torch
from transformers import PreTrainedTokenizerBase

from lander.models.chat import Chat
from lander.shared.errors import UserError

PROMPTS = ("plain", "chat", "auto")
MEMORY = "lander_prompt"  # key of tokenizer_config.json
IGNORED = -100  # label of tokens without loss, torch's convention


@dataclass(frozen=True)
class Batch:
    """Padded sequences. `input_ids`, `attention_mask`, `labels`: int64 (batch, tokens)."""

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    labels: torch.Tensor

    def to(self, device: torch.device) -> "Batch":
        return Batch(self.input_ids.to(device), self.attention_mask.to(device), self.labels.to(device))

    @property
    def predicted(self) -> int:
        """Number of tokens with a loss."""
        return int((self.labels[:, 1:] != IGNORED).sum())


class Codec:
    """A tokenizer with Lander's conventions."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, prompt: str | None = None):
        """
        Args:
            tokenizer: of the model.
            prompt: `plain`, `chat`, or `auto` (chat where there is a template); None is what the tokenizer remembers,
                or plain.

        Raises:
            UserError: no end token, or no chat template where one is wanted.
        """
        if tokenizer.eos_token_id is None:
            raise UserError(f"{tokenizer.name_or_path}: the tokenizer has no end token; a translation could not end")
        self.tokenizer = tokenizer
        self.chat = self._chat(prompt or tokenizer.init_kwargs.get(MEMORY, "plain"))
        self.end: int = self.chat.end if self.chat else tokenizer.eos_token_id
        self.pad: int = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        self.prefix: list[int] = self._prefix()

    def _chat(self, prompt: str) -> Chat | None:
        """The chat template, where it is to be used; the tokenizer is told to remember."""
        if prompt not in PROMPTS:
            raise UserError(f"model.prompt: {prompt!r} is none of {', '.join(PROMPTS)}")
        if prompt == "plain" or (prompt == "auto" and not self.tokenizer.chat_template):
            self.tokenizer.init_kwargs.pop(MEMORY, None)
            return None
        chat = Chat(self.tokenizer)
        self.tokenizer.init_kwargs[MEMORY] = "chat"
        return chat

    @property
    def style(self) -> str:
        """`plain` or `chat`, as the argument `prompt` takes it."""
        return "chat" if self.chat else "plain"

    @property
    def ends(self) -> list[int]:
        """Tokens that end an output: a chat model may use its tokenizer's end token as well as that of a turn."""
        return list(dict.fromkeys([self.end, self.tokenizer.eos_token_id]))

    def _prefix(self) -> list[int]:
        """What the tokenizer's convention puts before a text."""
        with_special = self.tokenizer("a", add_special_tokens=True)["input_ids"]
        bare = self._encode("a")
        for start in range(len(with_special) - len(bare) + 1):
            if with_special[start : start + len(bare)] == bare:
                return with_special[:start]
        raise UserError(f"{self.tokenizer.name_or_path}: the tokenizer's special tokens follow no known convention")

    def _encode(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]

    def _encode_all(self, texts: list[str]) -> list[list[int]]:
        if not texts:
            return []
        return self.tokenizer(texts, add_special_tokens=False, split_special_tokens=True)["input_ids"]

    def prompt(self, text: str) -> list[int]:
        """Tokens of a prompt, the convention's first; in a chat template's frame where there is one."""
        return self.chat.encode([text])[0] if self.chat else self.prefix + self._encode(text)

    def target(self, text: str) -> list[int]:
        """Tokens of a translation, the end token last."""
        return [*self._encode(text), self.end]

    def prompts(self, texts: list[str]) -> list[list[int]]:
        """`prompt` of many texts at once."""
        if self.chat:
            return self.chat.encode(texts)
        return [self.prefix + tokens for tokens in self._encode_all(texts)]

    def targets(self, texts: list[str]) -> list[list[int]]:
        """`target` of many texts at once."""
        return [[*tokens, self.end] for tokens in self._encode_all(texts)]

    def sentence(self, text: str) -> list[int]:
        """Tokens of a sentence by itself, as the model met it in pretraining."""
        return [*self.prefix, *self._encode(text), self.tokenizer.eos_token_id]

    def decode(self, tokens: list[int]) -> str:
        """Text of generated tokens, up to the first end token."""
        ends = self.ends
        length = next((place for place, token in enumerate(tokens) if token in ends), len(tokens))
        return self.tokenizer.decode(tokens[:length], skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def pad_right(self, sequences: list[list[int]], prompt_lengths: list[int]) -> Batch:
        """A batch to train or score on: loss on what follows the first `prompt_lengths` tokens of each sequence."""
        width = max(map(len, sequences))
        ids = torch.full((len(sequences), width), self.pad)
        mask = torch.zeros_like(ids)
        labels = torch.full_like(ids, IGNORED)
        for row, (tokens, skip) in enumerate(zip(sequences, prompt_lengths, strict=True)):
            ids[row, : len(tokens)] = torch.tensor(tokens)
            mask[row, : len(tokens)] = 1
            labels[row, skip : len(tokens)] = torch.tensor(tokens[skip:])
        return Batch(ids, mask, labels)

    def pad_left(self, prompts: list[list[int]]) -> Batch:
        """A batch of prompts to decode from: their last tokens stand in one column."""
        width = max(map(len, prompts))
        ids = torch.full((len(prompts), width), self.pad)
        mask = torch.zeros_like(ids)
        for row, tokens in enumerate(prompts):
            ids[row, width - len(tokens) :] = torch.tensor(tokens)
            mask[row, width - len(tokens) :] = 1
        return Batch(ids, mask, torch.full_like(ids, IGNORED))
