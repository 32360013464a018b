"""DATASETS: every data set, at a glance. Each entry loads `Images` (images.py), given a data directory."""

from depthbench.registry import Entry

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
}
