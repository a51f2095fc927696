"""Running sums of one number per neuron over tokens, in all and by parts of the text."""

import numpy as np
import torch

from lander.models.tokens import IGNORED, Batch


class Sums:
    """Sums over tokens: `total` float64 (n_layer, p), `by_part` float64 (n_parts, n_layer, p).

    Args:
        parts: part of each row of the batches, in the order in which they come; none: parts are not kept.
    """

    def __init__(self, shape: tuple[int, int], device: torch.device, parts: list[int] | None = None) -> None:
        n_parts = max(parts) + 1 if parts else 0
        self.total = torch.zeros(shape, dtype=torch.float64, device=device)
        self.by_part = torch.zeros(n_parts, *shape, dtype=torch.float64, device=device)
        self.tokens = 0
        self.part_tokens = np.zeros(n_parts, dtype=np.int64)
        self.part_rows = np.zeros(n_parts, dtype=np.int64)  # sentences
        self._parts = torch.tensor(parts or [], dtype=torch.int64, device=device)
        self._row, self._rows = 0, self._parts[:0]

    def begin(self, batch: Batch) -> None:
        """Count the batch's tokens and rows; what is added next belongs to them."""
        self.tokens += batch.predicted
        if not len(self._parts):
            return
        self._rows = self._parts[self._row : self._row + len(batch.input_ids)]
        self._row += len(self._rows)
        rows = self._rows.cpu().numpy()
        np.add.at(self.part_tokens, rows, predicting(batch).sum(1).cpu().numpy())
        np.add.at(self.part_rows, rows, 1)

    def add(self, layer: int, values: torch.Tensor) -> None:
        """Add a layer's values (batch, tokens, p): float32 within a batch, float64 over batches."""
        self.total[layer] += values.reshape(-1, values.shape[-1]).sum(0)
        if len(self._rows):
            self.by_part[:, layer].index_add_(0, self._rows, values.sum(1).double())

    def add_rows(self, layer: int, neurons: torch.Tensor, values: torch.Tensor) -> None:
        """Add some neurons' values, summed over tokens already: (batch, neurons)."""
        self.total[layer, neurons] += values.double().sum(0)
        if len(self._rows):
            grown = torch.zeros(len(values), self.total.shape[1], dtype=torch.float64, device=values.device)
            grown[:, neurons] = values.double()
            self.by_part[:, layer].index_add_(0, self._rows, grown)

    def means(self) -> np.ndarray:
        """Means over tokens, float64 (n_layer, p)."""
        return (self.total / max(self.tokens, 1)).cpu().numpy()


def predicting(batch: Batch) -> torch.Tensor:
    """Which tokens predict a token that has a loss: bool (batch, tokens)."""
    mask = torch.zeros_like(batch.labels, dtype=torch.bool)
    mask[:, :-1] = batch.labels[:, 1:] != IGNORED
    return mask
