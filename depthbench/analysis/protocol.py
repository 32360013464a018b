"""Compare a stored run with the network of a paper and with the recipe of that paper.

A run is a row of `Results.runs`, as a dict: `family`, `depth`, `options.KEY`, `recipe.KEY`, `data.KEY`."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from depthbench.networks import NETWORKS
from depthbench.networks.family import Protocol
from depthbench.networks.options import NEEDS
from depthbench.study.model import Recipe
from depthbench.training.optimizers import OPTIMIZERS

LENGTHS_OF_OTHER_KINDS = {"epochs", "patience"}  # every protocol gives its length in steps


def settled_options(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return all network options of `run`, with the family's defaults for unset ones.

    An option without effect is set to its default, so that equal networks have equal options."""
    given = {key: run.get(f"options.{key}") for key in NEEDS}  # a plug-in's builder has others
    chosen = {key: None if pd.isna(value) else value for key, value in given.items()}
    return NETWORKS[run["family"]].settle(run["depth"], chosen)


def is_from_paper(family: str) -> bool:
    """Return whether `family` is an image network with the protocol of a paper."""
    return family in NETWORKS and bool(NETWORKS[family].protocols)


def has_default_options(run: Mapping[str, Any]) -> bool:
    """Return whether the network of `run` is an image network exactly as its paper builds it."""
    if not is_from_paper(run["family"]):
        return False
    return settled_options(run) == NETWORKS[run["family"]].settle(run["depth"], {})


def recipe_of(protocol: Protocol) -> dict[str, Any]:
    """Return the keys of [recipe] that the paper of `protocol` states, with their values.

    As in a row of `Results.runs`, each setting of the optimiser is a separate key."""
    recipe = Recipe(**protocol.recipe).model_dump(exclude=LENGTHS_OF_OTHER_KINDS | protocol.unstated)
    return {**recipe, **recipe.pop("optimizer_settings")}


def recipe_differences(run: Mapping[str, Any], name: str) -> list[str]:
    """Return the differences of `run` from the protocol `name` of its family, in words.

    For example `batch_size 64, not 128`. A key that depends on another one, as milestones depend on the step
    schedule, counts only if both recipes use it."""
    protocol = NETWORKS[run["family"]].protocols[name]
    paper = _with_settings(recipe_of(protocol))
    given = _with_settings(_recipe_of_run(run))
    wanted, given = (_in_effect(values, run["depth"]) for values in (paper, given))
    differences = [
        f"{key} {_in_words(given.get(key))}, not {_in_words(wanted.get(key))}"
        for key in paper
        if not _equal(given.get(key, wanted.get(key)), wanted.get(key, given.get(key)))
    ]
    if run["data.normalisation"] != protocol.normalisation:
        differences.append(f"normalisation {run['data.normalisation']}, not {protocol.normalisation}")
    shape, size = run["data.shape"], protocol.image_size
    if isinstance(shape, tuple) and shape[1:] != (size, size):
        differences.append(f"images {shape[2]}x{shape[1]}, not {size}x{size}")
    if not all(pd.isna(run[f"data.{key}"]) for key in ("val_size", "val_fraction")):
        differences.append("trained on fewer images, because some are kept for validation")
    return differences


def _recipe_of_run(run: Mapping[str, Any]) -> dict[str, Any]:
    prefix = "recipe."
    return {key.removeprefix(prefix): value for key, value in run.items() if key.startswith(prefix)}


def _with_settings(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return `recipe` with the defaults of those settings of its optimiser that are unset."""
    entry = OPTIMIZERS.get(recipe.get("optimizer", ""))
    defaults = {key: default for key, (_, default) in entry.settings.items()} if entry else {}
    return {**recipe, **{key: value for key, value in defaults.items() if _is_missing(recipe.get(key))}}


def _in_effect(recipe: Mapping[str, Any], depth: int) -> dict[str, Any]:
    """Return `recipe` without the keys that have no effect at `depth`, with milestones as fractions."""
    recipe = dict(recipe)
    if recipe.get("warmup") == "hold" and depth < recipe["hold_from_depth"]:
        recipe["warmup"] = "none"
    has_no_effect = {
        "warmup_steps": recipe.get("warmup") != "linear",
        "hold_lr": recipe.get("warmup") != "hold",
        "hold_until_train_error": recipe.get("warmup") != "hold" or recipe.get("hold_steps") is not None,
        "hold_steps": recipe.get("warmup") != "hold",
        "hold_from_depth": True,
        "depth_rules": True,  # the network of no paper here has scaled branches
        "milestones": recipe.get("schedule") != "step",
        "plateau_patience": recipe.get("schedule") != "plateau",
        "pad": recipe.get("augmentation") == "scale",
        "scale": recipe.get("augmentation") != "scale",
    }
    recipe = {key: value for key, value in recipe.items() if not has_no_effect.get(key, False)}
    if "milestones" in recipe:
        recipe["milestones"] = [m if m < 1 else m / recipe["steps"] for m in recipe["milestones"]]
    return recipe


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and bool(pd.isna(value)))


def _equal(one: Any, other: Any) -> bool:
    missing = [_is_missing(value) for value in (one, other)]
    return all(missing) if any(missing) else one == other


def _in_words(value: Any) -> str:
    if _is_missing(value):
        return "unset"
    if isinstance(value, (list, tuple)):
        return " and ".join(map(_in_words, value))
    return f"{value:,g}" if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)
