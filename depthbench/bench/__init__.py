"""How fast depthbench's loop is here: beside the conventional loop, and beside what the machine could do.

    settings -> [Case] x [Arm] -> measure: rows -> ratios -> table, figure, files

A *case* is a network on one kind of images. An *arm* is a way to train it: a loop, so many jobs at once, so
many threads each. A *segment* is some steps of one arm, timed. In each repeat every arm has one segment, in
an order that rotates, so that a machine that slows down or speeds up does so for all of them; ratios are
taken within a repeat."""


class BenchFailed(Exception):
    """What was measured cannot be trusted or went no further; the message says why, and the way out."""
