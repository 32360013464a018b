import multiprocessing

import psutil


def is_alive(pid):
    """Whether a process is there and has not ended; one that nobody has waited for yet has."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def children():
    """The processes that this one has begun and that have not ended, without those that have drawn figures:
    these end by themselves, some seconds after."""
    return [child for child in multiprocessing.active_children() if not child.name.startswith("Loky")]
