"""Muon for the weights of hidden layers, and AdamW for all other parameters (K. Jordan et al. 2024,
https://kellerjordan.github.io/posts/muon/).

Shapes: O rows (outputs), I inputs."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from depthbench.errors import BadInput

NS_COEFFICIENTS = (3.4445, -4.775, 2.0315)


class Muon(torch.optim.Optimizer):
    """torch.optim.Muon on `hidden_weights`, and torch.optim.AdamW on the other parameters.

    torch's Muon takes matrices only. A kernel (O, I, height, width) is updated as the matrix (O, I height
    width) that shares its memory, as in the author's code. A weight with one row or column is left to AdamW.
    The learning rate of AdamW is `adamw_lr` times that of Muon. With the default `adjust_lr_fn`, an entry of
    Muon's update has the size (rms) of one of AdamW's, so one rate suits both (Liu et al. 2025,
    arXiv:2502.16982, sec. 2.2). The weight decay of both is decoupled and belongs to the parameter groups.

    `note` says what the two update. Raises BadInput if no weight is left for Muon."""

    def __init__(
        self,
        params: Iterable[dict[str, Any]],
        lr: float | Tensor,
        *,
        hidden_weights: Sequence[nn.Parameter],
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = NS_COEFFICIENTS,
        ns_steps: int = 5,
        eps: float = 1e-7,
        adjust_lr_fn: str = "match_rms_adamw",
        adamw_betas: tuple[float, float] = (0.9, 0.999),
        adamw_eps: float = 1e-8,
        adamw_lr: float = 1.0,
        fused: bool | None = None,
        capturable: bool = False,
    ):
        super().__init__(params, {"lr": lr, "weight_decay": 0.0, "lr_scale": 1.0})
        of_muon = {
            "momentum": momentum,
            "nesterov": nesterov,
            "ns_coefficients": ns_coefficients,
            "ns_steps": ns_steps,
            "eps": eps,
            "adjust_lr_fn": adjust_lr_fn,
        }
        of_adamw = {"betas": adamw_betas, "eps": adamw_eps, "fused": fused, "capturable": capturable}
        hidden = {id(p) for p in hidden_weights if is_matrix(p)}
        self.parts: list[torch.optim.Optimizer] = []
        """The optimiser of each parameter group."""
        groups, self.param_groups = self.param_groups, []
        for group in groups:
            factor = group.pop("eps", eps) / eps  # a group may have its own eps
            for is_muon in (True, False):
                chosen = [p for p in group["params"] if (id(p) in hidden) is is_muon]
                if not chosen:
                    continue
                settings = of_muon if is_muon else of_adamw
                own = {**group, **settings, "params": chosen, "eps": settings["eps"] * factor}
                if isinstance(own["lr"], Tensor):
                    own["lr"] = own["lr"].clone()  # groups can have different rates
                if not is_muon:
                    own["lr_scale"] *= adamw_lr
                self.param_groups.append(own)
                self.parts.append(_make_part(own, is_muon=is_muon))
        muon_count, adamw_count = (
            sum(len(g["params"]) for g in self.param_groups if ("momentum" in g) is is_muon)
            for is_muon in (True, False)
        )
        if not muon_count:
            raise BadInput(
                "optimizer = muon: the network has no weight of a hidden layer for it; use another optimizer"
            )
        self.note = (
            f"muon updates the {muon_count} weights of hidden layers; adamw updates the other {adamw_count} "
            "parameters (first and last layer, biases, norms)"
        )

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update all parameters that have a gradient. Takes no closure."""
        for group, part in zip(self.param_groups, self.parts, strict=True):
            (inner,) = part.param_groups
            inner.update({key: group[key] for key in inner.keys() & group.keys() - {"params"}})
            for parameter, own in zip(group["params"], inner["params"], strict=True):
                if own is not parameter:
                    own.grad = None if parameter.grad is None else as_matrix(parameter.grad, like=parameter)
            part.step()
            for parameter, own in zip(group["params"], inner["params"], strict=True):
                if own in part.state:
                    self.state[parameter] = part.state[own]
                if own is not parameter:
                    own.grad = None

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the optimiser of each group."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go back to a state of `state_dict`. Keeps the settings of the groups."""
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)


def _make_part(group: dict[str, Any], *, is_muon: bool) -> torch.optim.Optimizer:
    """Return the optimiser of one parameter group."""
    kind: Any = torch.optim.Muon if is_muon else torch.optim.AdamW
    ours = ("params", "lr_scale", "l1_scale")
    settings = {key: value for key, value in group.items() if key not in ours}
    if is_muon:
        return kind([nn.Parameter(as_matrix(p.detach(), like=p)) for p in group["params"]], **settings)
    return kind(group["params"], **settings)


def is_matrix(weight: Tensor) -> bool:
    """Return whether a weight (O, I, ...), as a matrix, has several rows and columns."""
    return weight.dim() >= 2 and weight.shape[0] > 1 and weight.shape[1:].numel() > 1


def as_matrix(x: Tensor, *, like: Tensor) -> Tensor:
    """Return x (O, I, ...) as a matrix (O, I ...), with the columns in the order of memory of `like`.

    The result shares the memory of x if both have the same order in memory."""
    ordered = x if like.is_contiguous() else x.movedim(1, -1)  # channels last
    return ordered.flatten(1)
