"""Measure a training loop of the user's own (`depthbench.watch`)."""
