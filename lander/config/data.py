"""Section `data`: parallel text."""

from pydantic import Field

from lander.data.settings import Cleaning
from lander.data.sources import Source
from lander.shared.section import PathText, Section


class Data(Section):
    """Parallel text."""

    train: tuple[Source, ...] = ()
    """Sources of training pairs; cleaned, then sampled."""
    dev: tuple[Source, ...] = ()
    """Sources on which prompts and learning rates are chosen; never filtered."""
    test: tuple[Source, ...] = ()
    """Sources that are translated and scored; each has a name; never filtered."""
    exclude: tuple[Source, ...] = ()
    """Sources whose sentences are taken out of the training pairs, at least the test sets. They are named here again so
    that editing a test set retrains nothing."""
    max_pairs: int | None = Field(0, ge=0)
    """Most training pairs per direction; 0 or null is all."""
    templates: PathText | None = None
    """YAML file of instruction templates; null is the project's ten."""
    cleaning: Cleaning = Cleaning()
    """What is dropped from the training pairs, in which order, with which thresholds."""
