"""The rule that decides whether images are kept on a device or streamed to it (source.py)."""

from depthbench.data.files import Files
from depthbench.data.labelled import Labelled
from depthbench.data.mapped import Mapped

# The fraction of free memory that images may fill. On a GPU, activations and later runs need the rest. On the
# host, this applies to a file that is used in place.
GPU_FRACTION, MAPPED_FRACTION = 0.25, 0.5


def should_stream(images: Labelled, device: str, free_bytes: int) -> bool:
    """Return whether `images` are too large for `device`, which has `free_bytes` of memory free.

    Images in host memory always fit there. Images that are decoded each time they are read are always
    streamed."""
    if isinstance(images.train_x, Files):
        return True
    size = sum(x.nbytes for x in images.inputs)
    if device.startswith("cuda"):
        return size > GPU_FRACTION * free_bytes
    return isinstance(images.train_x, Mapped) and size > MAPPED_FRACTION * free_bytes
