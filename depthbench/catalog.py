"""Names for plug-ins that import them from here, their former home. Nothing in depthbench imports this."""

from depthbench.plugins import load_plugin
from depthbench.registry import Entry, look_up

__all__ = ["Entry", "load_plugin", "look_up"]
