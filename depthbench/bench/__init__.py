"""Measure how fast depthbench trains here, compared with a conventional loop and with the machine's limits.

    settings -> [Case] x [Arm] -> measure: rows -> ratios -> table, figure, files

A *case* is a network on one kind of images. An *arm* is a way to train it: a loop, with a number of
simultaneous jobs and of threads for each. A *segment* is a number of timed steps of one arm. In each repeat,
every arm has one segment. Their order rotates, so that a drift in the machine's speed affects all arms alike.
Ratios are taken within a repeat."""


class BenchFailed(Exception):
    """The measurement stopped or cannot be trusted. The message says why and what to do."""
