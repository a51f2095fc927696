"""A model that translates: a base, or a base with what was trained on it, behind one small interface.

model = lander.load("results/demo/finetune/landermt/main/s0")
model.translate(["Good morning."], "en-de")

`lander.share.export` writes one as a plain model folder, `lander.finetune.delta` as one file.
"""

import math
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn

from lander.config.base import find_folder
from lander.data.templates import Template, load_templates
from lander.finetune import blocks, delta, saved
from lander.finetune.adapters import base_of
from lander.finetune.switch import Router
from lander.models import loading
from lander.models.losses import piece, token_losses
from lander.models.tokens import IGNORED, Codec
from lander.shared.errors import UserError
from lander.shared.languages import Direction, language_name, parse_direction, parse_language
from lander.shared.progress import progress
from lander.translate.decoding import check_chosen, greedy

if TYPE_CHECKING:
    from transformers import GenerationConfig

Model = saved.Trained | delta.Delta  # a trained model, as a folder or as a file
Directions = str | Direction | None | Sequence[str | Direction | None]  # one for all sentences, or one for each
LONG = 1024  # tokens: of sequences that are longer, a batch has fewer


class Output(NamedTuple):
    """What a model wrote; `cut`: it had not come to an end token when it was stopped."""

    text: str
    cut: bool


@dataclass(frozen=True)
class Decoding:
    """How outputs are written."""

    beams: int = 1  # 1 is greedy
    max_new_tokens: int = 512
    batch_size: int = 32  # sentences at a time


@dataclass(eq=False)
class Translator:
    """A model, its tokenizer, its routes and its prompts. Made by `load`."""

    network: nn.Module
    codec: Codec
    directions: list[Direction] = field(default_factory=list)  # that were trained
    languages: dict[str, str] = field(default_factory=dict)
    templates: list[Template] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ffns = blocks.installed(self.network)
        self.router = next((ffn.router for ffn in self.ffns.values()), Router())
        listed = base_of(self.network).generation_config.eos_token_id or []
        listed = listed if isinstance(listed, list) else [listed]
        self.codec.ends = list(dict.fromkeys([*self.codec.ends, *listed]))

    def route(self, direction: str | Direction | None) -> None:
        """Make the model run a direction; None is the base's graph.

        A direction that was not trained runs the neurons of its languages, with the mean of their directions' gates;
        UserError if a language has no neurons.
        """
        wanted = None if direction is None else parse_direction(str(direction))
        if wanted and wanted not in self.directions:
            for ffn in self.ffns.values():
                if str(wanted) not in ffn.directions:  # it has no masks
                    ffn.add_direction(wanted)
                ffn.borrow_gates(wanted, self.directions)
        self.router.direction = str(wanted) if wanted else None

    def known(self, direction: Direction) -> Direction:
        """A direction in the codes of the model, where it has the languages under other ones: `eng-deu` is `en-de`."""
        own = {parse_language(code): code for code in self.languages}
        return Direction(*(own.get(parse_language(code), code) for code in (direction.source, direction.target)))

    def prompt(self, sentence: str, direction: str | Direction, template: Template | None = None) -> str:
        """The instruction to translate a sentence, by default from the first template of the model's training."""
        pair = astuple(self.known(parse_direction(str(direction))))
        names = [self.languages.get(code) or language_name(code) for code in pair]
        return (template or self.templates[0]).fill(sentence, *names)

    def prompts(self, sentences: list[str], direction: Directions, template: Template | None = None) -> list[list[int]]:
        """Tokens of the prompt of each sentence."""
        rows = zip(sentences, each(direction, len(sentences)), strict=True)
        return self.codec.prompts([self.prompt(sentence, one, template) for sentence, one in rows])

    def translate(self, sentences: list[str], direction: Directions, **decoding: Any) -> list[str]:
        """Translations of sentences, in their order: the first line of each of `outputs` (same arguments)."""
        return [first_line(output.text) for output in self.outputs(sentences, direction, **decoding)]

    def outputs(
        self, sentences: list[str], direction: Directions, *, template: Template | None = None, **decoding: int
    ) -> list[Output]:
        """Everything that the model writes for each sentence. An empty sentence stays empty.

        `direction` is one for all, or a list with one for each sentence: a batch may mix them.

        The template is by default the first of the model's training; `decoding` has fields of `Decoding`.
        """
        if isinstance(sentences, str) or not isinstance(sentences, Iterable):  # letters would be translated one by one
            raise UserError(
                f"translate: wants a list of sentences, not {sentences!r:.40}; write [sentence] for a single one"
            )
        sentences = list(sentences)
        for number, one in enumerate(sentences):
            if not isinstance(one, str):
                raise UserError(f"translate: sentence {number} of the list is {one!r:.40}, not text; leave it out")
        directions = [self.known(parse_direction(str(one))) for one in each(direction, len(sentences))]
        full = [place for place, sentence in enumerate(sentences) if sentence.strip()]
        directions = [directions[place] for place in full]
        prompts = self.prompts([sentences[place] for place in full], directions, template)
        self.warn_of_long(dict(zip(full, prompts, strict=True)), "sentence")
        outputs = [Output("", False)] * len(sentences)
        for place, output in zip(full, self.complete(prompts, directions, Decoding(**decoding)), strict=True):
            outputs[place] = output
        return outputs

    def warn_of_long(self, prompts: Mapping[int, list[int]], what: str) -> None:
        """Name the first of the prompts (by place, from 0) that are too long for the model."""
        most = loading.positions(self.network) or loading.ALIBI
        if long := [place for place, prompt in prompts.items() if len(prompt) >= most]:
            others = f" (and {len(long) - 1:,} more)" if len(long) > 1 else ""
            length = f"{len(prompts[long[0]]):,} tokens with the prompt, and the model is made for {most:,}"
            advice = "do not trust the translation, and split the text"
            print(f"warning: {what} {long[0] + 1:,}{others}: {length}; {advice}", file=sys.stderr)

    def complete(self, prompts: list[list[int]], direction: Directions, decoding: Decoding) -> list[Output]:
        """Everything that the model writes behind each prompt (tokens), up to its end token or `max_new_tokens`."""
        directions = each(direction, len(prompts))
        outputs = [Output("", False)] * len(prompts)
        kinds = list(dict.fromkeys(map(str, directions)))
        name = kinds[0] if len(kinds) == 1 else f"{len(kinds)} directions"
        with progress(f"lander translate: {name}", len(prompts)) as bar:
            for places in by_length(prompts, decoding.batch_size):
                rows = [prompts[place] for place in places], [directions[place] for place in places]
                for place, output in zip(places, self.write(*rows, decoding), strict=True):
                    outputs[place] = output
                bar.update(len(places))
        return outputs

    def write(
        self, prompts: list[list[int]], directions: Sequence[str | Direction | None], how: Decoding
    ) -> list[Output]:
        """The same for one batch. Each row runs its own direction, as it would alone."""
        for direction in dict.fromkeys(directions):
            self.route(direction)
        names = [direction and str(direction) for direction in directions for _ in range(how.beams)]
        with self.router.mixed(names):
            generated = self.generate(prompts, how)
        return [Output(self.codec.decode(tokens), not set(self.codec.ends) & set(tokens)) for tokens in generated]

    @torch.inference_mode()
    def generate(self, prompts: list[list[int]], how: Decoding) -> list[list[int]]:
        """New tokens for each prompt of a batch. Rows leave the batch as they end, except in the library's beam search:
        there, padding behind the end token is still in the output."""
        batch = self.codec.pad_left(prompts).to(self.network.device)
        config = self.generation_config(how)
        config.prefill_chunk_size = piece(len(prompts) * how.beams, batch.input_ids.shape[1])
        inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask, "generation_config": config}
        if how.beams == 1:
            return self.network.generate(**inputs, custom_generate=partial(greedy, router=self.router))
        return self.network.generate(**inputs, logits_processor=[check_chosen])[:, batch.input_ids.shape[1] :].tolist()

    def generation_config(self, how: Decoding) -> "GenerationConfig":
        """The library's settings for decoding. What they leave open is open in a loaded base too, so the library's
        defaults fill it: no sampling, no penalty."""
        from transformers import GenerationConfig

        return GenerationConfig(
            max_new_tokens=how.max_new_tokens,
            num_beams=how.beams,
            do_sample=False,
            eos_token_id=self.codec.ends if len(self.codec.ends) > 1 else self.codec.ends[0],
            pad_token_id=self.codec.pad,
            bos_token_id=self.codec.tokenizer.bos_token_id,
        )

    @torch.inference_mode()
    def losses(
        self,
        prompts: list[list[int]],
        targets: list[list[int]],
        direction: str | Direction | None,
        batch_size: int = 32,
    ) -> list[float]:
        """The summed loss (nats) of each target (tokens) behind its prompt. The first token of all is not predicted."""
        self.route(direction)
        sequences = [prompt + target for prompt, target in zip(prompts, targets, strict=True)]
        found = [0.0] * len(sequences)
        for places in by_length(sequences, batch_size):
            skipped = [len(prompts[place]) for place in places]
            batch = self.codec.pad_right([sequences[place] for place in places], skipped).to(self.network.device)
            if not batch.predicted:
                continue
            rows = (batch.labels[:, 1:] != IGNORED).nonzero()[:, 0]
            losses = token_losses(self.network, batch, input_ids=batch.input_ids).double()
            sums = torch.zeros(len(places), dtype=losses.dtype, device=losses.device).index_add_(0, rows, losses)
            for place, nats in zip(places, sums.tolist(), strict=True):
                found[place] = nats
        if not self.directions and not math.isfinite(sum(found)):  # a training may have diverged, but not a base
            raise loading.no_numbers("loss")
        return found

    @torch.inference_mode()
    def logits(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, direction: str | Direction | None
    ) -> torch.Tensor:
        """Logits (batch, tokens, vocabulary) of the routed model; `direction` None is the base's graph."""
        self.route(direction)
        device = self.network.device
        return self.network(input_ids=input_ids.to(device), attention_mask=attention_mask.to(device)).logits


def load(
    path: str | Path,
    dtype: str = "float32",
    revision: str | None = None,
    base: str | None = None,
    *,
    start: bool = False,
    prompt: str | None = None,
) -> Translator:
    """Load a trained model's folder, or a base (built-in name, folder, hub id), ready to translate.

    Args:
        path: results/<run>/finetune/<method>/<variant>/s<seed>, a delta file (*.safetensors), or a base.
        dtype: of the weights, `float32`, `bfloat16` or `auto`.
        base: where the base is now, if it has moved since the training.
        start: the blocks as their training began: routed, with the base's weights.
        prompt: how instructions are put to a base (`model.prompt`); a trained model knows how it was trained.
        revision: of a base on the hub; a trained model knows that of its own.
    """
    path = str(path)
    trained = open_trained(path)
    if trained is None:
        if base:
            raise UserError(f"base: {base}, but {path} is no trained model, and a base itself; leave it out")
        if revision and find_folder(path):
            raise UserError(f"revision: {revision}, but {path} is no model of the hub; leave it out")
        network, codec = loading.load(path, revision, dtype, prompt)
        return Translator(network, codec, templates=own_templates(path))
    if revision:
        raise UserError(f"revision: {revision}, but {path} is a trained model and knows that of its base; leave it out")
    if isinstance(trained, delta.Delta):
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:  # a network disk keeps open files
            delta.apply(path, Path(temporary, "model"), base)
            return load(Path(temporary, "model"), dtype, start=start, prompt=prompt)
    manifest, codec = trained.manifest, loading.load_codec(path)
    if prompt not in (None, "auto", codec.style):
        raise UserError(f"prompt: {prompt}, but {path} was trained with {codec.style} prompts; leave it out")
    return Translator(
        saved.load_network(trained, dtype, base, start=start),
        codec,
        directions=[parse_direction(direction) for direction in manifest["directions"]],
        languages=manifest["languages"],
        templates=[Template(f"trained {index}", text) for index, text in enumerate(manifest["templates"])],
    )


def open_trained(path: str) -> Model | None:
    """A trained model, from its folder or from a delta file; None if the path is a base's."""
    if delta.is_delta(path):
        return delta.Delta(path)
    return saved.Trained(path) if saved.is_trained_model(path) else None


def own_templates(path: str) -> list[Template]:
    """The prompts for a base: its own format where it has one, then the project's ten."""
    prompt = loading.facts(path).get("prompt")
    return ([Template("own", prompt)] if prompt else []) + load_templates()


def template_of(templates: Sequence[Template], name: str) -> Template:
    """The template of a name."""
    for template in templates:
        if template.name == name:
            return template
    there = ", ".join(template.name for template in templates)
    raise UserError(f"translate.template: no template is named {name!r}; there are {there}")


def each(direction: Directions, number: int) -> list[str | Direction | None]:
    """The direction of each of a number of sentences."""
    if direction is None or isinstance(direction, str | Direction):
        return [direction] * number
    if len(direction) != number:
        raise UserError(f"translate: {len(direction)} directions for {number} sentences; give one, or one for each")
    return list(direction)


def first_line(output: str) -> str:
    """The translation in a model's output: its first line that is not empty; the rest is over-generation."""
    return next((line.strip() for line in output.splitlines() if line.strip()), "")


def by_length(sequences: list[list[int]], batch_size: int) -> Iterator[list[int]]:
    """Places of sequences, in batches of similar length, the longest first (a lack of memory shows at once).

    A batch has at most `batch_size` sequences, and no more tokens than so many of `LONG` tokens.
    """
    order = sorted(range(len(sequences)), key=lambda place: -len(sequences[place]))
    while order:
        size = min(batch_size, max(1, batch_size * LONG // max(len(sequences[order[0]]), 1)))
        yield order[:size]
        order = order[size:]
