"""Options that a study sets and that none of its networks can use."""

from depthbench.networks.options import NEEDS
from depthbench.study.model import Study

_LACKING = {"residual": "no shortcuts", "bottleneck": "no bottlenecks"}


def notes_on_options(study: Study) -> list[str]:
    """Return a note on each option that was set and changes no network of the study."""
    chosen: dict[tuple[str, str], list[str]] = {}
    for name in study.networks():
        for option, value in study.options_of(name).model_dump(exclude_unset=True).items():
            if value is not None and NEEDS.get(option) is not None:
                chosen.setdefault((option, str(value)), []).append(name)
    return [
        f"options.{option} = {value} has no effect: {_reason(option, names)}"
        for (option, value), names in chosen.items()
        if not any(_has_effect(study, name, option) for name in names)
    ]


def _has_effect(study: Study, name: str, option: str) -> bool:
    """Return whether a network has the chosen value of `option` at any depth of the grid."""
    family, chosen = study.family(name), study.options_of(name).model_dump()
    depths = {depth for grid in study.all_grids if name in grid.network for depth in grid.depth}
    return any(family.settle(depth, chosen)[option] == chosen[option] for depth in depths)


def _reason(option: str, names: list[str]) -> str:
    need = NEEDS[option]
    if need not in _LACKING:
        return f"it needs options.{need}"
    return f"{', '.join(names)} {'has' if len(names) == 1 else 'have'} {_LACKING[need]}"
