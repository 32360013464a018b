"""The training loop of popular CIFAR repositories.

As in kuangliu/pytorch-cifar and akamaster/pytorch_resnet_cifar10, worker processes make images one by one
with torchvision's transforms, and every step fetches its loss. Two things differ, so that it trains the same
network as ours: convolutions and norms are depthbench's, and an incomplete last batch is dropped. The
precision is the requested one, whereas torch by default lets cuDNN round to TF32."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from depthbench.bench.case import Case
from depthbench.bench.timing import Timing, timed
from depthbench.data.images import Images
from depthbench.machine.precision import set_precision
from depthbench.networks import NETWORKS
from depthbench.networks.fusing import Fusible
from depthbench.networks.small_maps import only_torch
from depthbench.registry import look_up

WORKERS = 2
PREFETCHED = 2 * WORKERS  # batches that idle workers have ready


class Pictures(Dataset[tuple[torch.Tensor, int]]):
    """Images in an array, each made a PIL image on access, as in torchvision.datasets.CIFAR10."""

    def __init__(self, x: np.ndarray, y: np.ndarray, transform: Callable[[Image.Image], torch.Tensor]):
        x = x.transpose(0, 2, 3, 1)  # (N, H, W, C)
        self.x = np.ascontiguousarray(x[..., 0] if x.shape[3] == 1 else x)
        self.y, self.transform = y.tolist(), transform

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.fromarray(self.x[index])), self.y[index]


class Conventional:
    """The contender that trains with the conventional loop."""

    def __init__(self, case: Case, device: torch.device):
        self.run, self.device = case.run(probe={"names": []}), device
        recipe, images = self.run.recipe, case.images()
        set_precision(recipe.precision)
        torch.backends.cudnn.benchmark = device.type == "cuda"
        torch.manual_seed(self.run.seed)
        build = look_up(NETWORKS, "network", self.run.network)
        shape = {"in_channels": images.shape[0], "num_classes": len(images.classes)}
        with only_torch():
            network = build(depth=case.depth, **shape)
        self.network = _without_in_place_activations(network).to(device)
        self.criterion = nn.CrossEntropyLoss()
        self.optimizer = torch.optim.SGD(
            self.network.parameters(), recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay
        )
        loader = DataLoader(
            Pictures(
                np.asarray(images.train_x), images.train_y, _transform(images, augmented=not case.digits)
            ),
            batch_size=recipe.batch_size,
            shuffle=True,
            num_workers=WORKERS,
            pin_memory=device.type == "cuda",
            persistent_workers=True,
            drop_last=True,
        )
        self.batches = _endless(loader)
        self.loss = self.correct = 0.0

    def advance(self) -> None:
        """Make one update, as those repositories do."""
        inputs, targets = next(self.batches)
        inputs, targets = inputs.to(self.device), targets.to(self.device)
        self.optimizer.zero_grad()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.run.recipe.precision == "bf16"):
            outputs = self.network(inputs)
            loss = self.criterion(outputs, targets)
        loss.backward()
        self.optimizer.step()
        self.loss += loss.item()
        self.correct += outputs.max(1)[1].eq(targets).sum().item()

    def measure(self, mode: str, steps: int) -> list[Timing]:
        """Time `steps` updates.

        On a GPU, a step may be faster than the workers. Batches that they prepared while others were measured
        are therefore used up first."""
        for _ in range(PREFETCHED if self.device.type == "cuda" else 0):
            self.advance()
        return [timed("off", self.advance, steps, self.device)]


def _without_in_place_activations(network: nn.Module) -> nn.Module:
    """Return `network` with activations that are not in place, as in popular repositories."""
    for module in network.modules():
        if isinstance(module, Fusible):
            module.respond = _respond
    return network


def _respond(
    norm: nn.Module,
    activation: Callable[[torch.Tensor], torch.Tensor],
    z: torch.Tensor,
    shortcut: torch.Tensor | None = None,
) -> torch.Tensor:
    out = norm(z)
    if shortcut is not None:
        out += shortcut
    return F.relu(out) if activation is F.relu_ else activation(out)


def _transform(images: Images, augmented: bool) -> transforms.Compose:
    """Return random crops and flips if `augmented`, and then the scaling."""
    h, w = images.shape[1:]
    random = [transforms.RandomCrop((h, w), padding=4), transforms.RandomHorizontalFlip()]
    mean, std = ((0.5,) * images.shape[0] for _ in range(2))
    return transforms.Compose(
        [*(random if augmented else []), transforms.ToTensor(), transforms.Normalize(mean, std)]
    )


def _endless(loader: DataLoader[Any]) -> Iterator[Any]:
    while True:
        yield from loader
