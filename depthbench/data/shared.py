"""An unnamed file that several processes map, so that all share one copy of the images.

The system removes the file once the last of these processes has ended, even if it was killed."""

import mmap
import os
import pickle
import tempfile
from dataclasses import dataclass
from typing import IO

from depthbench.data.labelled import Labelled

ALIGNMENT = 64  # bytes; vector instructions read such addresses fastest


@dataclass(frozen=True)
class SharedImages:
    """Where the parts of a pickled data set are in the file."""

    pickled: bytes
    """Everything but the content of the arrays."""
    spans: tuple[tuple[int, int], ...]
    """(offset, size) in bytes of each array."""

    def load(self, descriptor: int) -> Labelled:
        """Return the images. Their arrays are views of the file open as `descriptor`, and read-only."""
        size = os.fstat(descriptor).st_size
        whole = memoryview(mmap.mmap(descriptor, size, access=mmap.ACCESS_READ) if size else b"")
        parts = [whole[offset : offset + length] for offset, length in self.spans]
        images: Labelled = pickle.loads(self.pickled, buffers=parts)
        return images


def share(images: Labelled) -> tuple[IO[bytes], SharedImages]:
    """Write the arrays of `images` to a new file. Close it when no more processes need to map it."""
    buffers: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(images, protocol=5, buffer_callback=buffers.append)
    file = tempfile.TemporaryFile(prefix="depthbench-")  # noqa: SIM115 - the caller closes it
    spans = []
    for buffer in buffers:
        raw = buffer.raw()
        file.seek(-(-file.tell() // ALIGNMENT) * ALIGNMENT)
        spans.append((file.tell(), raw.nbytes))
        file.write(raw)
    file.flush()
    return file, SharedImages(pickled, tuple(spans))
