"""Paths as users write them."""

from pathlib import Path

from depthbench.errors import BadInput


def expand(path: str | Path) -> Path:
    """Return `path` with `~` and `~user` replaced by home directories.

    Raises BadInput for an unknown user and for a character that no file name can have."""
    if "\0" in str(path):
        raise BadInput(f"path {str(path)!r}: contains the character NUL; remove it")
    try:
        return Path(path).expanduser()
    except RuntimeError:
        user = Path(path).parts[0]
        raise BadInput(f"path {path}: {user} is no user of this machine; write ./{user} for a file") from None
