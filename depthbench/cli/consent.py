"""Consent to execute the plug-ins that a study file names, because the file can come from anyone."""

import sys
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from depthbench.cli.terminal import err
from depthbench.console import say
from depthbench.errors import BadInput
from depthbench.plugins.neighbours import neighbours_of
from depthbench.store.mirror import shown
from depthbench.text import shell


@dataclass(frozen=True)
class Consent:
    """The plug-ins that the user allows a study file to execute."""

    named: Collection[Path] = ()
    """Full paths of the files named with --plugin."""
    is_general: bool = False
    """Whether --trust-plugins was given."""

    def check(self, study_file: Path, plugin: Path) -> None:
        """Raise BadInput unless the user allows `study_file` to execute `plugin`.

        On a terminal, the user is asked. `plugin` is a full path."""
        if self.is_general or plugin in self.named:
            return
        name = shown(study_file)
        if not plugin.is_file():
            raise BadInput(f"{name}: its plug-in {plugin} does not exist; correct `plugins` in the file")
        neighbours = neighbours_of(plugin)
        also = f" and, next to it, {', '.join(sorted(neighbours))}" if neighbours else ""
        if _is_agreed(f"{name} wants to execute {plugin}{also}. Execute it? [y/N]"):
            return
        these = "these files" if neighbours else "that file"
        raise BadInput(
            f"{name} wants to execute {plugin}{also}: read {these} first, then add "
            f"{shell('--plugin', plugin)} or --trust-plugins"
        )


def _is_agreed(question: str) -> bool:
    """Ask a question on the terminal. Without a terminal, the answer is no."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    say(err, question)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
