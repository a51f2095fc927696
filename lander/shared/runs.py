"""The models of a run: a method, a variant of the config and a seed."""

import re
from dataclasses import dataclass

from lander.shared.errors import UserError

METHOD = "[A-Za-z0-9][A-Za-z0-9._-]*"  # name of a method of Lander, or of another system
NAME = re.compile(rf"({METHOD})/([A-Za-z0-9._+-]+)/s(\d+)")


@dataclass(frozen=True, order=True)
class Model:
    """One model of a run: trained, or the untrained base."""

    method: str
    variant: str
    seed: int

    def __str__(self) -> str:
        """Its folder below a stage's folder, as in `landermt/main/s0`."""
        return f"{self.method}/{self.variant}/s{self.seed}"

    @property
    def columns(self) -> dict[str, str]:
        """Its columns in tables of scores."""
        return {"method": self.method, "variant": self.variant, "seed": str(self.seed)}

    @classmethod
    def parse(cls, name: str) -> "Model":
        """The model whose `str` is `name`."""
        found = NAME.fullmatch(name)
        if not found:
            raise UserError(f"{name}: not the name of a model; write METHOD/VARIANT/s<SEED>, as in landermt/main/s0")
        return cls(found[1], found[2], int(found[3]))
