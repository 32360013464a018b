"""Whether a stored run is the network of a paper, trained as the paper trains it.

A run is a row of `Results.runs`, as a dict: `family`, `depth`, `options.KEY`, `recipe.KEY`, `data.KEY`."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from depthbench.networks import CIFAR, IMAGENET, IMAGENET_BOTTLENECKS_FROM, NETWORKS
from depthbench.study.model import NetworkOptions, Recipe

OF_SHORTCUTS = ("shortcut", "shortcut_scale", "branch_scale", "gate", "gate_bias", "shortcut_dropout")

_CIFAR = Recipe(steps=64_000, flip=True).model_dump(exclude={"epochs", "patience"})  # steps say the length
_IMAGENET = {
    **{"steps": 600_000, "batch_size": 256, "schedule": "plateau", "warmup": "none"},
    **{"augmentation": "scale", "colour": True},
}
RECIPES: dict[str, dict[str, Any]] = {
    "he2015-cifar": _CIFAR,  # He et al. 2015, sec. 4.2
    "he2016-cifar": _CIFAR | {"hold_steps": 400, "hold_from_depth": 1},  # for every depth, whatever the error
    # sec. 3.4, which does not say how long a plateau is
    "he2015-imagenet": {key: x for key, x in (_CIFAR | _IMAGENET).items() if key != "plateau_patience"},
}

NORMALISATION = "pixel"  # of all these papers: the mean of each pixel is subtracted
IMAGE_SIZES = {"he2015-cifar": 32, "he2016-cifar": 32, "he2015-imagenet": 224}  # pixels


def settled_options(run: Mapping[str, Any]) -> dict[str, Any]:
    """The network options of `run`, one of ours for images: what is unset as the family has it, and what has
    no effect at its default, so that equal networks have equal options."""
    family = NETWORKS[run["family"]]
    imagenet = family.target == IMAGENET
    bottleneck = (
        run["depth"] >= IMAGENET_BOTTLENECKS_FROM if imagenet else family.options.get("bottleneck", False)
    )
    unset = {
        "width": 64 if imagenet else 16,
        "shortcut": "B" if bottleneck else "A",
        "order": family.options.get("order", "original"),
    }
    defaults = NetworkOptions().model_dump() | unset
    given = {key: run.get(f"options.{key}") for key in defaults}
    options = {key: defaults[key] if pd.isna(value) else value for key, value in given.items()}
    idle = [] if family.options.get("residual", True) else list(OF_SHORTCUTS)
    idle += [] if bottleneck else ["bottleneck_stride"]
    idle += ["gate_bias"] if options["gate"] == "none" else []
    return options | {key: defaults[key] for key in idle}


def is_for_images(family: str) -> bool:
    """Whether it is one of our image networks."""
    return family in NETWORKS and NETWORKS[family].target in (CIFAR, IMAGENET)


def has_default_options(run: Mapping[str, Any]) -> bool:
    """Whether `run` is of one of our image networks, just as its paper builds it."""
    if not is_for_images(run["family"]):
        return False
    own = {key: run[key] for key in ("family", "depth")}
    return settled_options(run) == settled_options(own)


def recipe_differences(run: Mapping[str, Any], recipe: str) -> list[str]:
    """What `run` has otherwise than RECIPES[recipe] and its images, worded, e.g. `batch_size 64, not 128`.

    A key that only tells more of another, as milestones do of a schedule, counts where both recipes have it
    in effect."""
    paper = RECIPES[recipe]
    wanted, given = (_in_effect(values, run["depth"]) for values in (paper, _recipe_of(run)))
    told = [
        f"{key} {_word(given.get(key))}, not {_word(wanted.get(key))}"
        for key in paper
        if not _equal(given.get(key, wanted.get(key)), wanted.get(key, given.get(key)))
    ]
    if run["data.normalisation"] != NORMALISATION:
        told.append(f"normalisation {run['data.normalisation']}, not {NORMALISATION}")
    shape, size = run["data.shape"], IMAGE_SIZES[recipe]
    if isinstance(shape, tuple) and shape[1:] != (size, size):
        told.append(f"images {shape[2]}x{shape[1]}, not {size}x{size}")
    if not all(pd.isna(run[f"data.{key}"]) for key in ("val_size", "val_fraction")):
        told.append("trained on fewer images, some being kept for validation")
    return told


def _recipe_of(run: Mapping[str, Any]) -> dict[str, Any]:
    prefix = "recipe."
    return {key.removeprefix(prefix): value for key, value in run.items() if key.startswith(prefix)}


def _in_effect(recipe: Mapping[str, Any], depth: int) -> dict[str, Any]:
    """`recipe` without what does nothing at `depth`, its milestones as parts of all steps."""
    recipe = dict(recipe)
    if recipe.get("warmup") == "hold" and depth < recipe["hold_from_depth"]:
        recipe["warmup"] = "none"
    idle = {
        "warmup_steps": recipe.get("warmup") != "linear",
        "hold_lr": recipe.get("warmup") != "hold",
        "hold_until_train_error": recipe.get("warmup") != "hold" or recipe.get("hold_steps") is not None,
        "hold_steps": recipe.get("warmup") != "hold",
        "hold_from_depth": True,
        "milestones": recipe.get("schedule") != "step",
        "plateau_patience": recipe.get("schedule") != "plateau",
        "pad": recipe.get("augmentation") == "scale",
        "scale": recipe.get("augmentation") != "scale",
    }
    recipe = {key: value for key, value in recipe.items() if not idle.get(key, False)}
    if "milestones" in recipe:
        recipe["milestones"] = [m if m < 1 else m / recipe["steps"] for m in recipe["milestones"]]
    return recipe


def _equal(one: Any, other: Any) -> bool:
    missing = [value is None or (isinstance(value, float) and pd.isna(value)) for value in (one, other)]
    return all(missing) if any(missing) else one == other


def _word(value: Any) -> str:
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return "unset"
    if isinstance(value, (list, tuple)):
        return " and ".join(map(_word, value))
    return f"{value:,g}" if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)
