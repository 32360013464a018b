import json
import subprocess
import sys
import threading
import time

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from depthbench.paths import URL
from depthbench.store import lease as lease_module
from depthbench.store.files_at import FilesAt
from depthbench.store.lease import Lease, LeaseIsHeld


@pytest.fixture
def files(monkeypatch):
    """A place in memory. Leases expire after half a second."""
    for name, seconds in {"REFRESH": 0.05, "EXPIRY": 0.5, "POLL": 0.02, "SETTLE": 0.1}.items():
        monkeypatch.setattr(lease_module, f"{name}_SECONDS", seconds)
    yield FilesAt(URL("memory://leases/here"))
    MemoryFileSystem.store.clear()


@pytest.fixture
def held(files):
    """A lease that this process holds."""
    lease = Lease(files, ".lock")
    lease.acquire(0)
    yield lease
    lease.release()


def change(files, **changes):
    """Change what the lease says of its holder."""
    files.write(".lock", json.dumps(json.loads(files.read(".lock")) | changes).encode())


def test_a_lease_is_held_by_one_and_free_after_it(files):
    first, second = Lease(files, ".lock"), Lease(files, ".lock")
    first.acquire(0)
    with pytest.raises(LeaseIsHeld):
        second.acquire(0.1)
    first.release()
    assert files.read(".lock") is None
    second.acquire(0)
    second.release()


def test_a_lease_that_becomes_free_in_time_is_taken(files, held):
    threading.Timer(0.1, held.release).start()
    second = Lease(files, ".lock")
    second.acquire(10)
    second.release()


def test_the_lease_of_another_machine_is_respected_as_long_as_it_is_refreshed(files, held, monkeypatch):
    monkeypatch.setattr(lease_module, "_has_died", lambda holder: None)
    hosts = []
    began = time.monotonic()
    with pytest.raises(LeaseIsHeld):
        Lease(files, ".lock").acquire(0, hosts.append)
    assert time.monotonic() - began < lease_module.EXPIRY_SECONDS  # seen when it was refreshed
    assert len(hosts) == 1


@pytest.mark.parametrize(
    "content", [b"", b"[" * 100_000, b'{"owner": "x", "host": "h", "machine": "elsewhere", "pid": 1}']
)
def test_a_lease_that_is_not_refreshed_expires(files, content):
    files.create(".lock", content)
    began = time.monotonic()
    lease = Lease(files, ".lock")
    lease.acquire(0)
    assert time.monotonic() - began > lease_module.EXPIRY_SECONDS
    lease.check()
    lease.release()


@pytest.mark.skipif(not lease_module._machine(), reason="needs /proc")
def test_the_lease_of_a_dead_process_of_this_machine_is_taken_at_once(files, held, monkeypatch):
    held._has_ended.set()  # it is no longer refreshed
    monkeypatch.setattr(lease_module, "EXPIRY_SECONDS", 1000.0)
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    change(files, pid=process.pid, started=lease_module._started(process.pid))
    with pytest.raises(LeaseIsHeld):
        Lease(files, ".lock").acquire(0)
    process.communicate(b"\n")
    lease = Lease(files, ".lock")
    lease.acquire(0)
    lease.release()


def test_a_lost_lease_is_noticed_and_left_to_its_new_holder(files, held):
    held.check()
    change(files, owner="another")
    with pytest.raises(OSError, match="another process has taken over the lock"):
        held.check()
    held.release()
    assert json.loads(files.read(".lock"))["owner"] == "another"


def test_a_deleted_lease_is_created_again(files, held):
    files.delete(".lock")
    held.check()
    with pytest.raises(LeaseIsHeld):
        Lease(files, ".lock").acquire(0)


def test_of_several_processes_only_one_takes_an_expired_lease(files):
    files.create(".lock", b"expired")
    leases = [Lease(files, ".lock") for _ in range(8)]
    taken = []

    def acquire(lease):
        try:
            lease.acquire(0)
        except LeaseIsHeld:
            return
        taken.append(lease)

    threads = [threading.Thread(target=acquire, args=(lease,)) for lease in leases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 1
    taken[0].check()
    taken[0].release()
