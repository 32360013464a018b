"""Callbacks that use `depthbench.watch` in the loops of other packages.

`pip install 'depthbench[adapters]'` installs these packages."""
