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

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase

from lander.models.chat import Chat
from lander.shared.errors import UserError
from lander.shared.files import write_json

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

    Args:
        prompt: `plain`, `chat`, or `auto` (chat if there is a template); None: what the tokenizer remembers, or plain.
    Attributes:
        chat: the chat template, None for plain prompts; `style` says which, as `prompt` takes it.
        end: token that ends a translation.
        ends: tokens that end an output: a chat model may use its tokenizer's end token as well as that of a turn.
        pad: token that fills rows.
        prefix: tokens that the tokenizer's convention puts before a text.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, prompt: str | None = None):
        if tokenizer.eos_token_id is None:
            raise UserError(
                f"{tokenizer.name_or_path}: the tokenizer has no end token (eos_token in tokenizer_config.json), so a "
                "translation could not end; copy this file of the model too, or add the token"
            )
        self.tokenizer = tokenizer
        prompt = prompt or tokenizer.init_kwargs.get(MEMORY, "plain")
        if prompt not in PROMPTS:
            raise UserError(f"model.prompt: {prompt!r} is not one of {', '.join(PROMPTS)}")
        plain = prompt == "plain" or (prompt == "auto" and not tokenizer.chat_template)
        self.style = "plain" if plain else "chat"
        self.chat = None if plain else Chat(tokenizer)
        tokenizer.init_kwargs.pop(MEMORY, None)
        if self.chat:
            tokenizer.init_kwargs[MEMORY] = self.style
        self.end: int = self.chat.end if self.chat else tokenizer.eos_token_id
        self.ends: list[int] = list(dict.fromkeys([self.end, tokenizer.eos_token_id]))
        self.pad: int = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        whole, [bare] = tokenizer("a", add_special_tokens=True)["input_ids"], self._encode(["a"])
        starts = [start for start in range(len(whole)) if whole[start : start + len(bare)] == bare]
        if not starts:
            raise UserError(f"{tokenizer.name_or_path}: the tokenizer's special tokens follow no known convention")
        self.prefix: list[int] = whole[: starts[0]]

    def _encode(self, texts: list[str]) -> list[list[int]]:
        if not texts:
            return []
        return self.tokenizer(texts, add_special_tokens=False, split_special_tokens=True)["input_ids"]

    def without_row(self, rows: int) -> list[str]:
        """Tokens that a text can have and a model with so many rows in its embeddings has not.

        Special tokens that are spelled out stay text, so one without a row does no harm outside prefix and frame.
        """
        special = {index for index, token in self.tokenizer.added_tokens_decoder.items() if token.special}
        used = {*self.ends, self.pad, *self.prompt("a")}
        found = sorted((index, token) for token, index in self.tokenizer.get_vocab().items() if index >= rows)
        return [token for index, token in found if index in used or index not in special]

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
        length = next((place for place, token in enumerate(tokens) if token in self.ends), len(tokens))
        return self.tokenizer.decode(tokens[:length], skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def pad_right(self, sequences: list[list[int]], prompt_lengths: list[int]) -> Batch:
        """A batch to train or score on, with a loss on what follows the first `prompt_lengths` tokens of a sequence."""
        batch = self._empty(sequences)
        for row, (tokens, skip) in enumerate(zip(sequences, prompt_lengths, strict=True)):
            batch.input_ids[row, : len(tokens)] = torch.tensor(tokens)
            batch.attention_mask[row, : len(tokens)] = 1
            batch.labels[row, skip : len(tokens)] = torch.tensor(tokens[skip:])
        return batch

    def pad_left(self, prompts: list[list[int]]) -> Batch:
        """A batch of prompts to decode from: their last tokens are in the last column."""
        batch = self._empty(prompts)
        for row, tokens in enumerate(prompts):
            start = batch.input_ids.shape[1] - len(tokens)
            batch.input_ids[row, start:] = torch.tensor(tokens)
            batch.attention_mask[row, start:] = 1
        return batch

    def _empty(self, sequences: list[list[int]]) -> Batch:
        shape = len(sequences), max(map(len, sequences))
        return Batch(torch.full(shape, self.pad), torch.full(shape, 0), torch.full(shape, IGNORED))


def save_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write a tokenizer under a class name that transformers 4 and 5 read; TokenizersBackend is its name in 5 alone."""
    tokenizer.save_pretrained(folder)
    file = folder / "tokenizer_config.json"
    # not `read_json`: a seal would be of a file before this one
    settings = json.loads(file.read_text(encoding="utf-8"))
    if settings.get("tokenizer_class") == "TokenizersBackend":
        settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    write_json(file, settings)
