"""The parts of one run: its network, its optimiser and its batches."""

import hashlib
import inspect
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from depthbench.data.batches import Batches, Inputs, Scaling, Tokens
from depthbench.data.colour import Colour
from depthbench.data.files import sides
from depthbench.data.labelled import Labelled
from depthbench.data.placement import PlacedImages
from depthbench.data.statistics import sample_for_statistics
from depthbench.errors import BadInput
from depthbench.networks import Family
from depthbench.networks.depth_scaling import DepthScaling
from depthbench.networks.layers import all_weights, named_blocks, weighted_layers
from depthbench.networks.lazy import initialise_lazily, is_lazy
from depthbench.registry import look_up
from depthbench.study.model import Run
from depthbench.training.depth_rules import BranchFactors, branch_factors
from depthbench.training.optimizers import OPTIMIZERS
from depthbench.training.settings import Recipe
from depthbench.training.team import Team


def build_network(family: Family, run: Run, data: Labelled) -> nn.Module:
    """Return the network of `run`, untrained, with the weights of its seed.

    A builder receives only options that differ from their defaults, so a plug-in need not know the others."""
    torch.manual_seed(run.seed)
    chosen = run.options.model_dump(exclude_defaults=True)
    network = family(depth=run.depth, **family.arguments(data.task), **chosen)
    if is_lazy(network):
        initialise_lazily(network, data.shape)
    return network


def hash_weights(network: nn.Module) -> str:
    """Return the sha256 of the name, shape and bytes of every parameter."""
    digest = hashlib.sha256()
    for name, parameter in network.named_parameters():
        digest.update(f"{name}{tuple(parameter.shape)}".encode())
        whole = parameter.full_tensor() if hasattr(parameter, "full_tensor") else parameter  # of DTensors
        numbers = whole.detach().cpu().contiguous().reshape(-1)
        digest.update(numbers.view(torch.uint8).numpy().tobytes())  # numpy knows no bfloat16
    return digest.hexdigest()


def depth_scaling(family: Family, run: Run, network: nn.Module) -> DepthScaling | None:
    """Return the scale of the residual branches of `network`; None if options.depth_alpha is 0 or unused.

    Raises BadInput if the network does not name its blocks."""
    options = family.settle(run.depth, run.options.model_dump())
    if not options["depth_alpha"]:
        return None
    blocks = named_blocks(network)
    if not blocks:
        raise BadInput("options.depth_alpha: the network has no method blocks() that returns its blocks")
    return DepthScaling(options["depth_alpha"], len(blocks), options["base_blocks"])


def branch_parameters(network: nn.Module) -> list[nn.Parameter]:
    """Return the parameters in the residual branches of `network`, whose blocks name them.

    Raises BadInput if a block does not name them."""
    found: list[nn.Parameter] = []
    for block in named_blocks(network):
        if not hasattr(block, "branch_parameters"):
            raise BadInput(
                f"options.depth_alpha: {type(block).__name__} does not say which parameters are in its "
                'residual branch; add a method branch_parameters(), or set recipe.depth_rules = "none"'
            )
        found += block.branch_parameters()  # type: ignore[operator]
    return found


def factors_in_branches(scaling: DepthScaling | None, recipe: Recipe) -> BranchFactors | None:
    """Return the factors of settings for parameters in residual branches; None if they have no own settings.

    Raises BadInput if they are not known for the optimiser."""
    if scaling is None or recipe.depth_rules == "none":
        return None
    return branch_factors(scaling, look_up(OPTIMIZERS, "optimizer", recipe.optimizer), recipe.optimizer)


def make_optimizer(
    network: nn.Module, recipe: Recipe, factors: BranchFactors | None = None
) -> torch.optim.Optimizer:
    """Return the optimiser of `recipe` over all parameters. Weight decay is on all or on weights only.

    A weight that several layers share is one parameter, which a step updates once. With `factors`, the
    parameters in residual branches are groups of their own. Raises BadInput if the network does not name
    them.

    It is fused if its class supports that, so that a few kernels update all parameters. On CUDA it can be
    captured, and it reads the learning rate from the device's memory."""
    weights = all_weights(network)
    ids = {id(parameter) for parameter in weights}
    others = [parameter for parameter in network.parameters() if id(parameter) not in ids]
    groups: list[dict[str, Any]] = [
        {"params": weights, "weight_decay": recipe.weight_decay},
        {"params": others, "weight_decay": recipe.weight_decay if recipe.decay_norm else 0.0},
    ]
    entry = look_up(OPTIMIZERS, "optimizer", recipe.optimizer)
    keywords: dict[str, Any] = entry.keywords(recipe)
    if factors is not None:
        groups = _with_branches(groups, branch_parameters(network), factors, keywords.get("eps"))
    groups = [group for group in groups if group["params"]]
    device = groups[0]["params"][0].device
    lr: float | Tensor = recipe.lr
    if device.type == "cuda":
        lr = torch.tensor(recipe.lr, device=device)
        groups = [{"lr": lr.clone(), **group} for group in groups]  # the rates of groups can differ
    accepted = inspect.signature(entry.load()).parameters
    if "fused" in accepted:
        keywords["fused"] = True
    if "capturable" in accepted:
        keywords["capturable"] = device.type == "cuda"
    if "hidden_weights" in accepted:
        keywords["hidden_weights"] = hidden_weights(network)
    optimizer = entry(groups, lr, **keywords)
    optimizer._warned_capturable_if_run_uncaptured = True  # the steps before a capture are eager
    if isinstance(optimizer, torch.optim.SGD):
        start_momentum_later(optimizer)
    return optimizer


def _with_branches(
    groups: list[dict[str, Any]],
    in_branches: list[nn.Parameter],
    factors: BranchFactors,
    eps: float | None,
) -> list[dict[str, Any]]:
    """Return parameter groups in which parameters of residual branches are groups with their own settings.

    eps: epsilon of the optimiser; None if it has none."""
    ids = {id(parameter) for parameter in in_branches}
    outside = [{**group, "params": [p for p in group["params"] if id(p) not in ids]} for group in groups]
    inside = [
        {
            "params": [p for p in group["params"] if id(p) in ids],
            "weight_decay": group["weight_decay"] * factors.weight_decay,
            "lr_scale": factors.lr,
            "l1_scale": factors.l1,
        }
        for group in groups
    ]
    if eps is not None:
        inside = [{**group, "eps": eps * factors.eps} for group in inside]
    return [*outside, *inside]


def hidden_weights(network: nn.Module) -> list[nn.Parameter]:
    """Return the weights of all layers but the first and the last, shortcut projections included."""
    layers = weighted_layers(network)
    ends = {id(p) for layer in (layers[0], layers[-1]) for p in layer.weight_parameters}
    return [weight for weight in all_weights(network) if id(weight) not in ends]


def start_momentum_later(optimizer: torch.optim.SGD) -> None:
    """Let parameters get their first gradient after the first step, as with stochastic depth.

    A fused step of torch needs the momentum of all parameters of a group or of none. During a step, those
    without momentum are a group of their own."""
    whole: list[dict[str, Any]] = []

    def split(*arguments: Any) -> None:
        join()  # an earlier step may have raised
        parts: list[dict[str, Any]] = []
        for group in optimizer.param_groups:
            used = [p for p in group["params"] if p.grad is not None]
            has_momentum = [optimizer.state.get(p, {}).get("momentum_buffer") is not None for p in used]
            if not group["momentum"] or all(has_momentum) or not any(has_momentum):
                parts.append(group)
                continue
            for has in (True, False):
                chosen = [p for p, h in zip(used, has_momentum, strict=True) if h is has]
                parts.append({**group, "params": chosen})
        if len(parts) > len(optimizer.param_groups):
            whole[:], optimizer.param_groups = optimizer.param_groups, parts

    def join(*arguments: Any) -> None:
        if whole:
            optimizer.param_groups = [*whole]
            whole.clear()

    optimizer.register_step_pre_hook(split)
    optimizer.register_step_post_hook(join)


def make_class_weights(recipe: Recipe, labels: np.ndarray, classes: int) -> Tensor | None:
    """Return the weight of each class in the loss, (classes,) float32, or None if all count alike.

    labels: those of the training set, over which the mean weight is 1. A class without training labels gets
    0."""
    if recipe.class_weights is None:
        return None
    counts = np.bincount(labels.ravel(), minlength=classes)
    weights = np.divide(labels.size, counts * (counts > 0).sum(), out=np.zeros(classes), where=counts > 0)
    return torch.tensor(weights, dtype=torch.float32)


def restore_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load `state` but keep the settings, which suit this device.

    The learning rate stays the tensor that a captured step reads."""
    kept = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, settings in zip(optimizer.param_groups, kept, strict=True):
        group.update(settings)


def make_inputs(run: Run, data: Labelled, device: torch.device) -> tuple[Inputs, Colour | None]:
    """Return what makes inputs of the network from the data, and colour augmentation if the run has it."""
    if run.data.is_sequences:
        return Tokens(data.task), None
    pixels = sample_for_statistics(data.train_x, run.data.split_seed)
    scaling = Scaling(pixels, run.data.normalisation, device)
    return scaling, Colour(pixels, device) if run.recipe.colour else None


def make_batches(
    run: Run, placed: PlacedImages, scaling: Inputs, *, colour: Colour | None, team: Team
) -> Batches:
    """Return the stream of training batches of `run`, or of this rank's part of each batch."""
    recipe, source = run.recipe, placed.train_source()
    is_scaled = recipe.augmentation == "scale"
    return Batches(
        source,
        scaling,
        batch_size=recipe.batch_size,
        seed=run.seed,
        pad=recipe.pad,
        flip=bool(recipe.flip),
        sides=sides(recipe.scale, source.x.shape[-1]) if is_scaled else None,
        colour=colour,
        part=None if team.is_alone else team.part(recipe.batch_size),
    )
