"""Colour augmentation (Krizhevsky et al. 2012, sec. 4.1, cited by He et al. 2015, sec. 3.4).

Every pixel of an image is shifted along the principal components of the training set's colours. The shift
along a component is its eigenvalue times a normal random number drawn for the image.
Shapes: C channels, B batch."""

import numpy as np
import torch
from torch import Tensor

from depthbench.data.mapped import Mapped
from depthbench.data.statistics import in_chunks

STD = 0.1  # standard deviation of the random numbers


class Colour:
    """The colour shifts of a training set.

    Eigenvalues are those of the covariance of pixel values scaled to 0 to 1. Shifts are converted back to
    pixel values from 0 to 255. The largest component of each eigenvector is positive."""

    def __init__(self, train_x: np.ndarray | Mapped, device: torch.device):
        c = train_x.shape[1]
        count, total, products = 0, np.zeros(c), np.zeros((c, c))
        for chunk in in_chunks(train_x):
            pixels = chunk.transpose(1, 0, 2, 3).reshape(c, -1).astype(np.float64)  # (C, B H W)
            count += pixels.shape[1]
            total += pixels.sum(1)  # whole numbers: the sum is exact in any order
            products += pixels @ pixels.T
        mean = total / count
        values, vectors = np.linalg.eigh((products / count - np.outer(mean, mean)) / 255**2)
        largest = np.abs(vectors).argmax(0)
        vectors *= np.sign(vectors[largest, np.arange(c)])  # LAPACK leaves the sign open
        self.shifts = torch.tensor(255 * vectors * values, dtype=torch.float32, device=device)  # (C, C)

    def __call__(self, drawn: Tensor) -> Tensor:  # (B, C)
        """Return the shift of each image's pixels: (B, C, 1, 1), in pixel values from 0 to 255."""
        return (drawn @ self.shifts.T)[:, :, None, None]
