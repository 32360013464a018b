"""Python's own documentation, which every installation has (`pydoc_data.topics`)."""

from pathlib import Path

from depthbench.data.sequences import Sequences
from depthbench.data.settings import Data
from depthbench.data.text import next_tokens


def load(data_dir: Path, data: Data) -> Sequences:
    """Return all topics in the order of their names, as text for next-token prediction.

    The text differs between versions of Python, and its hash is stored with the results."""
    from pydoc_data.topics import topics

    text = "\n".join(topics[name].strip("\n") + "\n" for name in sorted(topics))
    return next_tokens(data, {"all": text}, "data set pydoc")
