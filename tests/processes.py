import psutil


def is_alive(pid):
    """Whether a process is there and has not ended; one that nobody has waited for yet has."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
