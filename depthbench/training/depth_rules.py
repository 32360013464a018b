"""The settings of the optimiser for parameters in residual branches that are scaled by m^-alpha.

m = L / L_base is the relative number of blocks (networks/depth_scaling.py). Under the scale, the gradient of
a parameter in a branch is proportional to m^-alpha, if the gradient of the stream is of order 1. An update
dW of it moves the stream by m^-alpha dW. The updates of all L blocks follow the same loss and add up, so the
stream moves by m^(1-alpha) dW in a step. For this to be of order 1, dW must be proportional to m^(alpha-1)
(Yang et al. 2023, arXiv:2310.02244, sec. 1: alpha + gamma = 1; Dey et al. 2025, arXiv:2505.01618, sec. 6).

- Adam, RMSprop, Muon: dW is proportional to the rate, whatever the size of the gradient. The rate has the
  factor m^(alpha-1) (Table 1 of both papers), and epsilon, which is compared with the gradient, m^-alpha
  (CompleteP, Table 1).
- SGD: dW is proportional to the rate times the gradient. The rate has the factor m^(2 alpha - 1). This is 1
  in depth-muP (Table 1). CompleteP states no rule for SGD; at alpha = 1 the factor is m.
- Weight decay keeps its proportion to dW. Decoupled, it is multiplied by the rate, as dW is: its factor is 1
  (CompleteP, Table 1). As an L2 penalty it is added to the gradient, as is L1: their factor is m^-alpha.

The gradient of the stream is of order 1 only if no norm amplifies what the scaled branches add. Batch
normalisation does, after a shortcut that pads channels with zeros (option A): these channels carry the sum of
scaled branches alone, and the norm divides by its standard deviation. Projections (option B) avoid this.

The rules hold for all parameters of a branch, norms and biases included. Parameters outside of branches (the
first layer, projections of shortcuts, the last norm, the classifier) have the settings of the recipe. No
torch here."""

from dataclasses import dataclass

from depthbench.errors import BadInput
from depthbench.networks.depth_scaling import DepthScaling
from depthbench.training.optimizers import Optimizer


@dataclass(frozen=True)
class BranchFactors:
    """Factors of settings of the recipe, for the parameters in residual branches."""

    lr: float = 1.0
    weight_decay: float = 1.0
    eps: float = 1.0
    l1: float = 1.0


def branch_factors(scaling: DepthScaling, optimizer: Optimizer, name: str) -> BranchFactors:
    """Return the factors of `scaling` for an optimiser of this name.

    Raises BadInput for an optimiser that does not say how its update depends on the gradient."""
    if optimizer.is_scale_free is None:
        raise BadInput(
            f"options.depth_alpha = {scaling.alpha:g}: how the update of the optimizer {name} depends on the "
            "size of the gradient is not known; list it as an Optimizer with is_scale_free, or set "
            'recipe.depth_rules = "none"'
        )
    m, alpha = scaling.multiplier, scaling.alpha
    return BranchFactors(
        lr=m ** (alpha - 1) if optimizer.is_scale_free else m ** (2 * alpha - 1),
        weight_decay=1.0 if optimizer.decouples_decay else scaling.branch,
        eps=scaling.branch if optimizer.is_scale_free else 1.0,
        l1=scaling.branch,
    )
