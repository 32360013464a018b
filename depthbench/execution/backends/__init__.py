"""The list of backends, which decide where runs train. No torch here.

An entry names a function with the signature and duties of `backend.Backend`."""

from depthbench.registry import Entry

BACKENDS = {"local": Entry("depthbench.execution.backends.local:execute", "processes on this machine")}
