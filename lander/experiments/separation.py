"""How far languages lie apart in a space of sentence representations, in numbers.

Points are rows of (n, d) arrays; distances (n, n) come from `distances`. All scores are in [-1, 1] or [0, 1].
"""

import numpy as np


def distances(points: np.ndarray, kind: str) -> np.ndarray:
    """Distances between all points: `euclidean`, or `cosine` (1 - cosine of the angle seen from their centre).

    Args:
        points: (n, d)
    Returns:
        float64 (n, n), zeros on the diagonal. A point in the very centre is at cosine distance 1 of all others.
    """
    x = points - points.mean(axis=0)
    x = x.astype(np.float64)
    if kind == "cosine":
        norm = np.linalg.norm(x, axis=1, keepdims=True)
        x = np.divide(x, norm, out=np.zeros_like(x), where=norm > 0)
        table = 1 - x @ x.T
    else:
        square = (x**2).sum(axis=1)
        table = np.sqrt(np.maximum(square[:, None] + square - 2 * x @ x.T, 0))
    np.fill_diagonal(table, 0)
    return table


def silhouette(table: np.ndarray, labels: np.ndarray) -> float:
    """Mean of (b - a) / max(a, b): a, the mean distance to one's own label, b, to the nearest other label.

    1: far apart; 0: mixed; below: closer to another label than to one's own. A label's only point counts as 0.
    """
    names = np.unique(labels)
    member = labels[:, None] == names  # (n, labels)
    sums, counts = table @ member, member.sum(axis=0)
    own = member.argmax(axis=1)
    rows = np.arange(len(labels))
    a = sums[rows, own] / np.maximum(counts[own] - 1, 1)
    others = sums / counts
    others[rows, own] = np.inf
    b = others.min(axis=1)
    top = np.maximum(a, b)
    values = np.divide(b - a, top, out=np.zeros_like(a), where=(top > 0) & (counts[own] > 1))
    return float(values.mean())


def neighbour_accuracy(table: np.ndarray, labels: np.ndarray, k: int) -> float:
    """Share of points whose k nearest neighbours (not themselves) vote for their label; a tie goes to the nearer."""
    names, codes = np.unique(labels, return_inverse=True)
    table = table.copy()
    np.fill_diagonal(table, np.inf)
    nearest = np.argsort(table, axis=1, kind="stable")[:, : min(k, len(labels) - 1)]
    votes = np.zeros((len(labels), len(names)))
    for rank in range(nearest.shape[1]):
        votes[np.arange(len(labels)), codes[nearest[:, rank]]] += 1 - 1e-6 * rank
    return float((votes.argmax(axis=1) == codes).mean())


def retrieval(table: np.ndarray, labels: np.ndarray) -> float:
    """How often a sentence's nearest one of another language is its translation; mean over ordered pairs.

    The i-th point of every label is the same sentence. Chance is 1 / number of sentences.
    """
    rows = {name: np.flatnonzero(labels == name) for name in np.unique(labels)}
    found = [
        (table[np.ix_(rows[a], rows[b])].argmin(axis=1) == np.arange(len(rows[a]))).mean()
        for a in rows
        for b in rows
        if a != b
    ]
    return float(np.mean(found))


def without_means(points: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Points with the mean of their label taken away: what is left when a language is only a shift."""
    out = points.astype(np.float64)
    for name in np.unique(labels):
        out[labels == name] -= out[labels == name].mean(axis=0)
    return out


def project(points: np.ndarray) -> np.ndarray:
    """The two principal components, (n, 2); their signs are such that the largest loading is positive."""
    x = (points - points.mean(axis=0)).astype(np.float64)
    _, _, axes = np.linalg.svd(x, full_matrices=False)
    axes = axes[:2]
    axes = axes * np.sign(np.take_along_axis(axes, np.abs(axes).argmax(axis=1, keepdims=True), axis=1))
    flat = x @ axes.T
    return np.pad(flat, ((0, 0), (0, 2 - flat.shape[1])))
