"""Measure a user's training loop (`depthbench.watch`)."""
