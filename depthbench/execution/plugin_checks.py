"""Check the networks and optimisers of plug-ins in a study, before anything is written.

Without them, nothing here imports torch."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from depthbench.data import DATASETS
from depthbench.data.images import Images
from depthbench.data.load import default_data_dir, load_images
from depthbench.data.settings import Data
from depthbench.errors import BadInput, one_line
from depthbench.networks import NETWORKS, Family
from depthbench.networks.family import DepthRule
from depthbench.networks.options import NetworkOptions
from depthbench.paths import expand
from depthbench.plugins.loading import load_plugin, loaded
from depthbench.registry import look_up
from depthbench.schema import explain
from depthbench.study.model import Study
from depthbench.training.optimizers import OPTIMIZERS

if TYPE_CHECKING:
    from depthbench.networks.check import Subject

USUAL_DEPTHS = (4, 8)  # of a family that exists at any depth

_checked: set[tuple[object, ...]] = set()
"""What was checked in this process. A search plans each round, and must not repeat its notes."""


def check_plugins(study: Study, images: Images) -> list[str]:
    """Check each network that a plug-in builds, at each depth. Returns notes for the user.

    The notes also name optimisers of plug-ins that take no weight decay. Raises BadInput for a network that
    cannot be trained on `images`, or whose depth has no effect."""
    notes: list[str] = []
    for name in study.networks():
        family = study.family(name)
        notes += _notes_on_optimizer(study, name)
        if family.is_ours:
            continue
        from depthbench.networks.check import (
            Subject,
            check_depths,
            check_network,
            depths_to_compare,
            notes_on_seeds,
        )

        options = study.options_of(name).model_dump(exclude_defaults=True)
        are_files = study.data.path is not None
        subject = Subject(family, name, images.shape, len(images.classes), options, are_files)
        depths = sorted({run.depth for run in study.runs() if run.network == name})
        seeds = {run.seed for run in study.runs() if run.network == name}
        key = (family.source, name, images.shape, len(images.classes), str(options))
        new = [depth for depth in depths if (*key, depth) not in _checked]
        notes += [*_notes_on_names(name, family), *_notes_on_defaults(study, name)] if new else []
        for depth in new:
            notes += check_network(subject, depth)
        others: list[int] = []
        if study.frontier is not None:  # the search tries other depths next
            following = family.depths.depth(family.depths.n(depths[-1]) + 1)
            others = [*depths_to_compare(family.depths, study.frontier.deepest), *filter(None, [following])]
        if new and len(depths) + len(others) > 1:
            check_depths(subject, depths, others)
        if new and len(seeds) > 1:
            notes += notes_on_seeds(subject, depths[0])
        _checked.update((*key, depth) for depth in new)
    return list(dict.fromkeys(notes))


def _notes_on_optimizer(study: Study, name: str) -> list[str]:
    """Return a note if the network trains without the default weight decay, once."""
    recipe = study.recipe_of(name)
    key = (recipe.optimizer, name)
    if "weight_decay" not in look_up(OPTIMIZERS, "optimizer", recipe.optimizer).ignored or key in _checked:
        return []
    _checked.add(key)
    return [f"{name} trains with recipe.weight_decay = 0, because {recipe.optimizer} takes no weight decay"]


def _notes_on_defaults(study: Study, name: str) -> list[str]:
    """Return notes on options set to depthbench's default, which is not passed to a builder."""
    options, variant = study.options_of(name), study.variants.get(name)
    was_set = study.options.model_fields_set | (variant.options.model_fields_set if variant else set())
    return [
        f"{name} has {option} = {default!r}: options.{option} = {getattr(options, option)!r} is the default "
        "of depthbench, which is not passed to builders of plug-ins; rename the parameter to set this value"
        for option, default in study.family(name).other_defaults.items()
        if option in was_set and option not in options.model_dump(exclude_defaults=True)
    ]


def _notes_on_names(name: str, family: Family) -> list[str]:
    """Return notes on parameters of a builder that have the name of a built-in option but other values."""
    notes = []
    for option, default in family.defaults_of_shared.items():
        try:
            if default is not None:  # unset
                NetworkOptions.model_validate({option: default})
        except ValidationError as error:
            meant = explain(error.errors()[0], option)
            notes.append(
                f"{name} has {option} = {default!r}, but {option} is the name of a built-in option, which "
                f"{meant}; rename the parameter, so that its own values can be set"
            )
    return notes


@dataclass(frozen=True)
class CheckedNetwork:
    """The result of the checks of one network."""

    name: str
    depths: tuple[int, ...]
    problems: tuple[str, ...] = ()
    """Why it cannot be trained, a line each. Empty if it can."""
    notes: tuple[str, ...] = ()

    @property
    def problem(self) -> str | None:
        """The first problem, or None if there is none."""
        return self.problems[0] if self.problems else None


def check_plugin(
    file: str | Path,
    *,
    networks: Sequence[str] | None = None,
    depths: Sequence[int] | None = None,
    data_set: str = "digits",
) -> list[CheckedNetwork]:
    """Check the networks of a plug-in on random images of the shape of a data set.

    networks: names in the file; default: all. depths: to build; default: the first two of each family. Raises
    BadInput for a file that cannot be loaded, and for unknown names."""
    from depthbench.networks.check import Subject, depths_to_compare

    load_plugin(file)
    plugin = loaded(expand(file).resolve())
    assert plugin is not None
    names = list(networks or [name for name, family in NETWORKS.items() if family.source == plugin.source])
    if not names:
        raise BadInput(f"{file}: defines no networks; add a dict NETWORKS, name -> builder")
    look_up(DATASETS, "data set", data_set)
    images = load_images(Data(name=data_set), default_data_dir())
    checked = []
    for name in names:
        family = look_up(NETWORKS, "network", name)
        subject = Subject(family, name, images.shape, len(images.classes))
        others = () if depths else depths_to_compare(family.depths)
        checked.append(_check_all(subject, tuple(depths or _usual_depths(family)), others))
    return checked


def _usual_depths(family: Family) -> list[int]:
    if family.depths == DepthRule():
        return list(USUAL_DEPTHS)
    return [depth for n in (1, 2) if (depth := family.depths.depth(n)) is not None]


def _check_all(subject: "Subject", depths: tuple[int, ...], others: Sequence[int]) -> CheckedNetwork:
    """Check a network at some depths. others: depths that are built to compare them, if they exist."""
    from depthbench.networks.check import check_depths, examine, notes_on_seeds

    problems: dict[str, str] = {}  # by its text without the depth
    notes = _notes_on_names(subject.name, subject.family)

    @contextlib.contextmanager
    def caught() -> Iterator[None]:
        try:
            yield
        except BadInput as error:
            add(error)
        except (Exception, SystemExit) as error:  # the results of the other networks are still of use
            add(f"network {subject.name!r}: {one_line(error)}")

    def add(problem: object) -> None:
        problems.setdefault(str(problem).partition(": ")[2], str(problem))

    for depth in depths:
        with caught():
            subject.family.depths.n(depth)
            found, noted = examine(subject, depth)
            notes += noted
            for problem in found:
                add(problem)
    if len(depths) + len(others) > 1:
        with caught():  # a depth with a problem is compared if possible
            check_depths(subject, () if problems else depths, (*depths, *others))
    with caught():
        notes += notes_on_seeds(subject, depths[0])
    return CheckedNetwork(subject.name, depths, tuple(problems.values()), tuple(dict.fromkeys(notes)))
