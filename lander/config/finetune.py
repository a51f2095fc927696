"""Section `finetune`: training, the same for all methods (paper 4.2), and a section for each method."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, create_model

from lander.config.methods import METHODS, TRAINED, MethodSettings
from lander.shared.errors import UserError
from lander.shared.section import Distinct, Section, switch


class Training(Section):
    """Training, the same for all methods (paper 4.2)."""

    steps: int | None = Field(None, ge=1)
    """Optimizer updates; if both are given, steps win over epochs."""
    epochs: float = Field(1, gt=0)
    """Passes over the training pairs."""
    batch_size: int = Field(8, ge=1, le=10_000)
    """Pairs per micro-batch, all of one direction; with `mix_directions`, of each direction."""
    mix_directions: bool = False
    """Whether a micro-batch has pairs of every direction, each of which runs its own neurons. The gradient is that of
    a micro-batch for each direction (but for dropout); faster where `batch_size` is small."""
    accumulate: int | None = Field(None, ge=1)
    """Micro-batches per update, summed over ranks; null is the number of directions, so that each update sees all of
    them, or 1 with `mix_directions`."""
    learning_rate: float | None = Field(None, gt=0)
    """Highest learning rate of AdamW; a method's own wins over it. null is 5e-5 for methods that train the model's own
    weights and 2e-4 for LoRA and adapters."""
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    """Course of the learning rate after the warmup."""
    warmup: int = Field(0, ge=0)
    """Updates in which the learning rate rises."""
    weight_decay: float = Field(0.01, ge=0)
    """Decoupled weight decay of AdamW."""
    clip: float = Field(1.0, ge=0)
    """Largest norm of the gradient; 0 is no clipping."""
    max_length: int = Field(2048, ge=8)
    """Most tokens of a prompt and its translation; longer pairs are left out."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic on a CPU; auto is bfloat16 if the machine has it. On a GPU the type of the weights decides."""
    zero_stage: Literal[0, 1, 2, 3] = 0
    """Stage of DeepSpeed ZeRO."""
    recompute: bool = False
    """Gradient checkpointing: less memory for a third more time; changes no result."""
    ranks: int = Field(1, ge=1, le=1024)
    """Processes (GPUs) that train one model together; never changes the result."""
    checkpoint_minutes: float = Field(5, ge=0)
    """Minutes of training between the checkpoints that a killed training resumes from; 0 is none."""
    report_to: Annotated[tuple[Literal["tensorboard", "trackio", "wandb", "mlflow"], ...], Distinct] = ()
    """Where trainings show their curves while they run: tensorboard (files beside loss.csv), trackio, wandb (Weights &
    Biases) or mlflow, whose package must be installed; changes no result."""
    scope: Literal["layer", "ffn", "neurons"] = switch(repaired="layer", paper="layer")
    """What is trained in the chosen layers: all (attention and norms too), the whole FFN, or the neurons of the masks
    alone, of which neurons.trained_share may choose few."""

    def together(self, directions: int) -> int:
        """How many of the directions a micro-batch has."""
        return directions if self.mix_directions else 1

    def method(self, name: str) -> MethodSettings:
        """Settings of one method, for example its learning rate; UserError if it trains nothing."""
        if name not in TRAINED:
            raise UserError(f"{name}: trains nothing; the methods that do are {', '.join(TRAINED)}")
        return getattr(self, name.replace("-", "_"))

    @property
    def methods(self) -> Mapping[str, MethodSettings]:
        """Settings of all methods that train something."""
        return {name: self.method(name) for name in TRAINED}


# finetune.<method>, one section for each entry of the registry
Finetune = create_model(
    "Finetune",
    __base__=Training,
    __doc__=Training.__doc__,
    **{
        name.replace("-", "_"): (
            METHODS[name].settings,
            Field(default=METHODS[name].settings(), alias=name, description=f"Settings of the method {name}."),
        )
        for name in TRAINED
    },
)
