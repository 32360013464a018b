"""Check the networks of plug-ins in a study, before anything is written.

Without such networks, nothing here imports torch."""

from depthbench.data.images import Images
from depthbench.study.model import Study

_checked: set[tuple[object, ...]] = set()
"""What was checked in this process. A search plans each round, and must not repeat its notes."""


def check_plugins(study: Study, images: Images) -> list[str]:
    """Check each network that a plug-in builds, at each depth. Returns notes for the user.

    Raises BadInput for a network that cannot be trained on `images`, or whose depth has no effect."""
    notes: list[str] = []
    for name in study.networks():
        family = study.family(name)
        if family.is_ours:
            continue
        from depthbench.networks.check import Subject, check_depths, check_network, notes_on_seeds

        options = study.options_of(name).model_dump(exclude_defaults=True)
        subject = Subject(family, name, images.shape, len(images.classes), options)
        depths = sorted({run.depth for run in study.runs() if run.network == name})
        seeds = {run.seed for run in study.runs() if run.network == name}
        key = (family.source, name, images.shape, len(images.classes), str(options))
        new = [depth for depth in depths if (*key, depth) not in _checked]
        for depth in new:
            notes += check_network(subject, depth)
        if study.frontier is not None and len(depths) == 1:  # the search tries another depth next
            deeper = family.depths.depth(family.depths.n(depths[0]) + 1)
            depths = depths if deeper is None else [*depths, deeper]
        if new and len(depths) > 1:
            check_depths(subject, depths)
        if new and len(seeds) > 1:
            notes += notes_on_seeds(subject, depths[0])
        _checked.update((*key, depth) for depth in new)
    return list(dict.fromkeys(notes))
