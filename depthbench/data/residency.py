"""Whether the images of a study have room on a device, or are streamed to it (source.py)."""

from depthbench.data.files import Files
from depthbench.data.images import Images
from depthbench.data.mapped import Mapped

# The part of the free memory that images may fill: of a GPU's, where activations and runs that start later
# need the rest; and of the machine's, those of a file that is used in place.
ON_GPU, IN_PLACE = 0.25, 0.5


def must_stream(images: Images, device: str, free: int) -> bool:
    """Whether `images` have no room on `device`, of whose memory so many bytes are free. Those that are in
    the machine's memory already have it there; those that are decoded as they are read have it nowhere."""
    if isinstance(images.train_x, Files):
        return True
    size = sum(x.nbytes for x in images.pixels)
    if device.startswith("cuda"):
        return size > ON_GPU * free
    return isinstance(images.train_x, Mapped) and size > IN_PLACE * free
