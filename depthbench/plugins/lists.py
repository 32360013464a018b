"""The lists that plug-ins and installed packages can extend, and the forms of their entries."""

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from depthbench.data import DATASETS
from depthbench.networks import NETWORKS, Family
from depthbench.parameters import REQUIRED, parameters_of
from depthbench.paths import problem_of_name
from depthbench.probes import PROBES
from depthbench.probes.columns import problem_of_probe_name
from depthbench.registry import Entry
from depthbench.report.entries import ReportFigure, ReportTable
from depthbench.report.figures import FIGURES
from depthbench.report.tables import TABLES
from depthbench.text import single_line
from depthbench.training.optimizers import OPTIMIZERS, Optimizer

OF_RECIPE = ("momentum", "nesterov")
"""Parameters of an optimiser that are keys of a recipe."""
OF_STEPS = (
    "params",
    "lr",
    "weight_decay",
    "hidden_weights",
    "fused",
    "capturable",
    "foreach",
    "maximize",
    "differentiable",
)
"""Parameters of an optimiser that are not settings."""
STATE_TENSORS = 2
"""Tensors per parameter in the state of an optimiser that does not state it. Adam has 2."""


@dataclass(frozen=True)
class Extensible:
    """A list of depthbench that plug-ins can extend."""

    entries: dict[str, Any]
    kind: type[Entry]
    noun: str
    """What an entry is, e.g. "network"."""
    wanted: str
    """What an entry may be, in words."""
    convert: Callable[[str, Any], Entry | None]
    """Makes an entry from a name and an object. Returns None if the object is of the wrong kind."""
    problem: Callable[[str], str | None] = problem_of_name
    """Returns why an entry cannot have a name, in words, or None if it can."""

    @property
    def group(self) -> str:
        """The group of entry points with which installed packages extend the list."""
        return f"depthbench.{next(name for name, each in LISTS.items() if each is self).lower()}"

    def as_entry(self, name: str, value: Any) -> Entry:
        """Convert an object of a plug-in to an entry. Raises ValueError, which says what is wrong with it."""
        target = value.target if isinstance(value, Entry) else value
        is_lazy = isinstance(value, Entry) and isinstance(target, str) and target.count(":") == 1
        made = None if is_lazy else self.convert(name, target)
        if made is None and not is_lazy:
            raise ValueError(f"is {describe(value)}; it should be {self.wanted}")
        if not isinstance(value, Entry):
            assert made is not None
            return replace(made, about=_summary(value))
        target = target if made is None else made.target
        if isinstance(value, self.kind):
            return replace(value, target=target)
        return self.kind(target, value.about, value.options)


def describe(value: Any) -> str:
    """Return what kind of object a value is, e.g. "an int"."""
    if isinstance(value, Entry):
        shown = repr(value.target) if isinstance(value.target, str) else describe(value.target)
        return f"an entry for {shown}"
    kind = value.__name__ if isinstance(value, type) else type(value).__name__
    if isinstance(value, type):
        return f"the class {kind}"
    return f"{'an' if kind[:1].lower() in 'aeiou' else 'a'} {kind}"


def _summary(value: Any) -> str:
    """Return the first line of the docstring of a function or class, without its full stop."""
    if not isinstance(value, type) and not inspect.isroutine(value):
        return ""
    return single_line((value.__doc__ or "").strip().partition("\n")[0]).removesuffix(".")


def _is_built(value: Any) -> bool:
    """Return whether a value is a built network, which is callable but not a builder."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.nn.Module)


def _network(name: str, value: Any) -> Entry | None:
    return Family(value) if callable(value) and not _is_built(value) else None


def _data_set(name: str, value: Any) -> Entry | None:
    return Entry(value) if callable(value) else None


def _probe(name: str, value: Any) -> Entry | None:
    """Return an entry if the value is a Probe. Checks this without importing torch."""
    bases = [base.__module__ for base in type(value).__mro__]
    return Entry(value) if "depthbench.probes.probe" in bases else None


def _problem_of_probe(name: str) -> str | None:
    return problem_of_name(name) or problem_of_probe_name(name)


def _optimizer(name: str, value: Any) -> Entry | None:
    """Return an optimiser whose settings are the keyword parameters of its class."""
    if not callable(value):
        return None
    declared = parameters_of(value, {}, given=(*OF_RECIPE, *OF_STEPS)).known
    settings = {
        key: (list, list(each.default))
        if isinstance(each.default, tuple)
        else (each.annotation, each.default)
        for key, each in declared.items()
        if each.default is not REQUIRED
    }
    keys = tuple(key for key in OF_RECIPE if key in inspect.signature(value).parameters)
    return Optimizer(value, settings=settings, recipe_keys=keys, state_tensors=STATE_TENSORS)


def _title(name: str) -> str:
    return name.replace("_", " ").replace("-", " ").capitalize()


def _figure(name: str, value: Any) -> Entry | None:
    """Return the entry of a ReportFigure or of a function. The caption of a function is its docstring."""
    if isinstance(value, ReportFigure):
        return Entry(value)
    if not callable(value) or isinstance(value, type):
        return None
    caption = (inspect.getdoc(value) or "").partition("\n\n")[0]
    return Entry(ReportFigure(value, title=_title(name), caption=" ".join(caption.split())))


def _table(name: str, value: Any) -> Entry | None:
    if isinstance(value, ReportTable):
        return Entry(value)
    if not callable(value) or isinstance(value, type):
        return None
    return Entry(ReportTable(value, title=_title(name)))


LISTS: dict[str, Extensible] = {
    "NETWORKS": Extensible(
        NETWORKS,
        Family,
        "network",
        "a class or function of (depth, in_channels, num_classes) that builds a network, or a Family",
        _network,
    ),
    "DATASETS": Extensible(
        DATASETS, Entry, "data set", "a function of a folder that returns Images, or an Entry", _data_set
    ),
    "PROBES": Extensible(PROBES, Entry, "probe", "a Probe, or an Entry of one", _probe, _problem_of_probe),
    "OPTIMIZERS": Extensible(
        OPTIMIZERS, Optimizer, "optimizer", "a class like those of torch.optim, or an Optimizer", _optimizer
    ),
    "FIGURES": Extensible(
        FIGURES,
        Entry,
        "figure",
        "a function of the evidence that returns a figure, or a ReportFigure",
        _figure,
    ),
    "TABLES": Extensible(
        TABLES, Entry, "table", "a function of the evidence that returns a Table, or a ReportTable", _table
    ),
}
"""Name of a dict in a plug-in -> the list that it extends."""
