"""DATASETS: every data set, at a glance. An entry loads `Images` (images.py), given a data directory.

A `SequenceEntry` loads `Sequences` (sequences.py), and is also given the section `[data]` of the study."""

from dataclasses import dataclass, field

from depthbench.registry import Entry


@dataclass(frozen=True)
class SequenceEntry(Entry):
    """A data set of sequences."""

    takes: frozenset[str] = field(default=frozenset(), kw_only=True)
    """The keys of `[data]` for sequences that it uses (settings.FOR_SEQUENCES)."""


VISION = "depthbench.data.vision:load"

DATASETS: dict[str, Entry] = {
    "digits": Entry(
        "depthbench.data.digits:load",
        "1,797 handwritten digits, 8x8, grey; bundled with scikit-learn, no download",
    ),
    "cifar10": Entry(VISION, "60,000 photographs, 32x32, 10 classes", {"name": "cifar10"}),
    "cifar100": Entry(VISION, "60,000 photographs, 32x32, 100 classes", {"name": "cifar100"}),
    "svhn": Entry(VISION, "99,289 street-view house numbers, 32x32, 10 classes", {"name": "svhn"}),
    "mnist": Entry(VISION, "70,000 handwritten digits, 28x28, grey", {"name": "mnist"}),
    "fashion_mnist": Entry(
        VISION, "70,000 pictures of clothes, 28x28, grey, 10 classes", {"name": "fashion_mnist"}
    ),
    "pydoc": SequenceEntry(
        "depthbench.data.pydoc:load",
        "Python's own documentation, about 500,000 characters: predict the next one; no download",
        takes=frozenset({"length", "tokens"}),
    ),
    "hops": SequenceEntry(
        "depthbench.data.hops:load",
        "pointer chasing: follow arrows between symbols, data.hops times; generated, no download",
        takes=frozenset({"hops", "symbols"}),
    ),
}
