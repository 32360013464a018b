"""Former location of names that plug-ins may import from here. Nothing in depthbench imports this module."""

from depthbench.plugins.loading import load_plugin
from depthbench.registry import Entry, look_up

__all__ = ["Entry", "load_plugin", "look_up"]
