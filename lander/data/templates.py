"""Instruction templates: the words around a sentence when the model is asked to translate it (paper, section 4.1).

Reads `templates.yaml` (or the user's own file): a list of {name, text}. A template ends with a line break, so the
translation begins a line and is one line. A template's index is its position in the file.

    from lander.data.templates import load_templates
    prompt = load_templates()[0].fill("Guten Tag.", "German", "English")
"""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from lander.shared.errors import UserError
from lander.shared.yamlfile import read_yaml

DEFAULT_PATH = Path(__file__).with_name("templates.yaml")
PLACEHOLDERS = ("source_language", "target_language", "source")

_PLACEHOLDER = re.compile(r"\{([A-Za-z_]\w*)\}")
_LINE_BREAK = re.compile("\r\n|[\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029]")


@dataclass(frozen=True)
class Template:
    """One instruction: `text` with the placeholders {source_language}, {target_language} and {source}."""

    name: str
    text: str

    def __post_init__(self) -> None:
        place = f"template {self.name!r}:"
        if self.name.startswith("-"):  # on a command line it would be a flag
            raise UserError(f"{place} its name begins with a dash; give it another")
        if unknown := [name for name in _PLACEHOLDER.findall(self.text) if name not in PLACEHOLDERS]:
            known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
            raise UserError(f"{place} unknown placeholder {{{unknown[0]}}}; known are {known}")
        if "{source}" not in self.text:
            raise UserError(f"{place} {{source}} is missing, so the sentence would not be shown")
        if not self.text.endswith("\n"):
            raise UserError(
                f"{place} it must end with a line break, so that the translation begins a line; in YAML write `text: |`"
            )

    def fill(self, sentence: str, source_language: str, target_language: str) -> str:
        """The prompt for `sentence`; the languages are names such as "German".

        Braces and placeholders in the sentence stay text. Its line breaks become spaces, nothing else changes.
        """
        values = {"source_language": source_language, "target_language": target_language}
        values["source"] = _LINE_BREAK.sub(" ", sentence)
        return _PLACEHOLDER.sub(lambda match: values[match[1]], self.text)


def load_templates(path: str | Path | None = None) -> list[Template]:
    """Read templates from a YAML file, by default the ten that come with Lander."""
    path = Path(path) if path else DEFAULT_PATH
    entries = read_yaml(path, absent="no such file of templates (data.templates)")
    if not isinstance(entries, list) or not entries:
        raise UserError(f"{path}: must be a list of templates, each with a name and a text")
    templates = []
    for number, entry in enumerate(entries, 1):
        known = isinstance(entry, dict) and set(entry) == {"name", "text"}
        if not known or not all(isinstance(value, str) and value for value in entry.values()):
            raise UserError(f"{path}: entry {number} must have exactly the keys name and text, both text and not empty")
        try:
            templates.append(Template(entry["name"], entry["text"]))
        except UserError as error:
            raise UserError(f"{path}: {error}") from None
    name, count = Counter(template.name for template in templates).most_common(1)[0]
    if count > 1:
        raise UserError(f"{path}: two templates are named {name!r}")
    return templates
