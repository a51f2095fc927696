"""Between text and tokens: one way to write a prompt, a translation and a sentence, in training and in decoding.

- A prompt and its translation are tokenized separately, so a prompt has the same tokens in training (with its
  translation) and in decoding (alone).
- What the tokenizer's convention puts before a text (LLaMA: `<s>`; BLOOM and Qwen: nothing) comes once before the
  prompt and never before the translation. What it puts after a text is left out; we place the end token.
- Special tokens that are spelled out in a text stay text (`split_special_tokens`).
- For a chat model, if `model.prompt` wants it, a prompt is a user's turn in the tokenizer's chat template, and the
  token that ends a turn ends a translation (lander.models.chat). The tokenizer remembers this: saved with a trained
  model and loaded again, it encodes as before.
- Padding is known by its place, never by its token, which may be the end token.
"""

from dataclasses import dataclass

import torch
from transformers import PreTrainedTokenizerBase

from lander.models.chat import Chat
from lander.shared.errors import UserError

PROMPTS = ("plain", "chat", "auto")
MEMORY = "lander_prompt"  # key of tokenizer_config.json
IGNORED = -100  # label of tokens without a loss, torch's convention


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
    """A tokenizer with Lander's conventions.

    `end` ends a translation, `pad` fills rows; `prefix` are the tokens before a text; `chat` is the chat template, or
    None for plain prompts.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, prompt: str | None = None):
        """
        Args:
            tokenizer: of the model.
            prompt: `plain`, `chat`, or `auto` (chat if there is a template); None is what the tokenizer remembers, or
                plain.
        Raises:
            UserError: no end token, an unknown `prompt`, or no chat template though one is wanted.
        """
        if tokenizer.eos_token_id is None:
            raise UserError(f"{tokenizer.name_or_path}: the tokenizer has no end token; a translation could not end")
        self.tokenizer = tokenizer
        prompt = prompt or tokenizer.init_kwargs.get(MEMORY, "plain")
        if prompt not in PROMPTS:
            raise UserError(f"model.prompt: {prompt!r} is not one of {', '.join(PROMPTS)}")
        if prompt == "plain" or (prompt == "auto" and not tokenizer.chat_template):
            self.chat = None
            tokenizer.init_kwargs.pop(MEMORY, None)
        else:
            self.chat = Chat(tokenizer)
            tokenizer.init_kwargs[MEMORY] = "chat"
        self.end: int = self.chat.end if self.chat else tokenizer.eos_token_id
        self.pad: int = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        self.prefix: list[int] = self._prefix()

    @property
    def style(self) -> str:
        """`plain` or `chat`, as the argument `prompt` takes it."""
        return "chat" if self.chat else "plain"

    @property
    def ends(self) -> list[int]:
        """Tokens that end an output: a chat model may use its tokenizer's end token as well as that of a turn."""
        return list(dict.fromkeys([self.end, self.tokenizer.eos_token_id]))

    def _prefix(self) -> list[int]:
        """The tokens that the tokenizer's convention puts before a text."""
        with_special = self.tokenizer("a", add_special_tokens=True)["input_ids"]
        [bare] = self._encode(["a"])
        for start in range(len(with_special) - len(bare) + 1):
            if with_special[start : start + len(bare)] == bare:
                return with_special[:start]
        raise UserError(f"{self.tokenizer.name_or_path}: the tokenizer's special tokens follow no known convention")

    def _encode(self, texts: list[str]) -> list[list[int]]:
        if not texts:
            return []
        return self.tokenizer(texts, add_special_tokens=False, split_special_tokens=True)["input_ids"]

    def prompt(self, text: str) -> list[int]:
        """Tokens of a prompt: the convention's prefix first, or in the frame of the chat template."""
        return self.prompts([text])[0]

    def target(self, text: str) -> list[int]:
        """Tokens of a translation, with the end token."""
        return self.targets([text])[0]

    def prompts(self, texts: list[str]) -> list[list[int]]:
        """`prompt` of many texts at once."""
        return self.chat.encode(texts) if self.chat else [self.prefix + tokens for tokens in self._encode(texts)]

    def targets(self, texts: list[str]) -> list[list[int]]:
        """`target` of many texts at once."""
        return [[*tokens, self.end] for tokens in self._encode(texts)]

    def sentence(self, text: str) -> list[int]:
        """Tokens of a sentence alone, as in pretraining: prefix, text, the tokenizer's end token."""
        return [*self.prefix, *self._encode([text])[0], self.tokenizer.eos_token_id]

    def decode(self, tokens: list[int]) -> str:
        """Text of generated tokens, up to the first end token."""
        ends = self.ends
        length = next((place for place, token in enumerate(tokens) if token in ends), len(tokens))
        return self.tokenizer.decode(tokens[:length], skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def pad_right(self, sequences: list[list[int]], prompt_lengths: list[int]) -> Batch:
        """A batch to train or score on, with a loss on what follows the first `prompt_lengths` tokens of a sequence."""
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
        """A batch of prompts to decode from: their last tokens are in the last column."""
        width = max(map(len, prompts))
        ids = torch.full((len(prompts), width), self.pad)
        mask = torch.zeros_like(ids)
        for row, tokens in enumerate(prompts):
            ids[row, width - len(tokens) :] = torch.tensor(tokens)
            mask[row, width - len(tokens) :] = 1
        return Batch(ids, mask, torch.full_like(ids, IGNORED))
