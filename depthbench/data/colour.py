"""Colour augmentation (Krizhevsky et al. 2012, sec. 4.1, as cited by He et al. 2015, sec. 3.4).

To each pixel of an image is added the sum over principal components of the colours of the training set, each
times its eigenvalue and a number drawn for the image from a normal distribution. C channels, B batch."""

import numpy as np
import torch
from torch import Tensor

from depthbench.data.mapped import Mapped
from depthbench.data.statistics import parts

STD = 0.1  # of what is drawn


class Colour:
    """Adds what was drawn to pixels. Eigenvalues are those of the covariance of pixel values from 0 to 1, in
    which a shift is of their size. Eigenvectors point to where their largest component is positive."""

    def __init__(self, train_x: np.ndarray | Mapped, device: torch.device):
        c = train_x.shape[1]
        count, total, products = 0, np.zeros(c), np.zeros((c, c))
        for part in parts(train_x):
            pixels = part.transpose(1, 0, 2, 3).reshape(c, -1).astype(np.float64)  # (C, B H W)
            count += pixels.shape[1]
            total += pixels.sum(1)  # whole numbers, and exact: no order of summation tells
            products += pixels @ pixels.T
        mean = total / count
        values, vectors = np.linalg.eigh((products / count - np.outer(mean, mean)) / 255**2)
        largest = np.abs(vectors).argmax(0)
        vectors *= np.sign(vectors[largest, np.arange(c)])  # which is LAPACK's choice
        self.shifts = torch.tensor(255 * vectors * values, dtype=torch.float32, device=device)  # (C, C)

    def __call__(self, drawn: Tensor) -> Tensor:  # (B, C)
        """What is added to the pixels of each image: (B, C, 1, 1), in pixel values from 0 to 255."""
        return (drawn @ self.shifts.T)[:, :, None, None]
