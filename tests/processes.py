import multiprocessing

import psutil


def is_alive(pid):
    """Return whether a process exists and is not a zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def children():
    """Return the child processes that still run, without those that draw figures.

    Those end by themselves some seconds later."""
    return [child for child in multiprocessing.active_children() if not child.name.startswith("Loky")]
