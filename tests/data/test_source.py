import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from subprocess import PIPE

import numpy as np
import pytest
import torch

from depthbench.data.batches import Batches, Scaling
from depthbench.data.draws import Draws
from depthbench.data.files import Files
from depthbench.data.load import load_images
from depthbench.data.mapped import Mapped
from depthbench.data.settings import Data
from depthbench.data.source import Resident, Streamed, stream_workers
from depthbench.errors import BadInput
from tests.data.photographs import write_photographs
from tests.processes import children, is_alive

pytestmark = pytest.mark.slow  # real processes

CPU = torch.device("cpu")
PIXELS = np.random.default_rng(0).integers(0, 256, (50, 3, 4, 4), dtype=np.uint8)
KEPT = np.array([i for i in range(50) if i % 5])  # 40 images
LABELS = torch.arange(40)
SCALING = Scaling(PIXELS[KEPT], "pixel", CPU)


def batches(source, seed=0):
    return Batches(source, SCALING, batch_size=16, seed=seed, pad=1, flip=True)


def resident(seed=0):
    return batches(Resident(torch.from_numpy(PIXELS[KEPT]), LABELS), seed)


def take(batches, count=1):
    """Return the images and labels of `count` batches, and the hash after each."""
    taken = []
    for _ in range(count):
        x, y = batches.images(batches.take())
        taken.append((x.numpy().tobytes(), y.tolist(), batches.hash))
    return taken


@pytest.fixture(scope="module")
def streamed(tmp_path_factory):
    """Return a stream of images of a file. The tests share its two processes, which start slowly."""
    path = tmp_path_factory.mktemp("images") / "x.npy"
    np.save(path, PIXELS)
    source = Streamed(Mapped(np.load(path, mmap_mode="r")).choose(KEPT), LABELS, workers=2)
    yield source
    source.close()


def test_streamed_images_equal_resident_images(streamed):
    before = torch.get_rng_state()
    assert take(batches(streamed), 12) == take(resident(), 12)  # more than 4 passes
    assert torch.equal(torch.get_rng_state(), before)  # dropout uses it


def test_a_streamed_batch_contains_its_pixels(streamed):
    batch = batches(streamed).take()
    assert batch.pixels.dtype == torch.uint8
    assert np.array_equal(batch.pixels, PIXELS[KEPT][batch.numbers[0]])
    assert resident().take().pixels is None


@pytest.mark.parametrize("taken", [0, 1, 7])
def test_a_state_ignores_batches_that_were_only_read_ahead(streamed, taken):
    stream, reference = batches(streamed), resident()
    take(stream, taken)
    take(reference, taken)
    state, reference_state = stream.state(), reference.state()
    assert state["hash"] == reference_state["hash"] == stream.hash
    for key in ("order", "augmentation", "waiting"):
        assert torch.equal(state[key], reference_state[key])

    expected = take(reference, 5)
    assert take(stream, 5) == expected  # reading the state changes nothing
    stream.restore(state)
    assert take(stream, 5) == expected
    again = resident(seed=9)
    again.restore(state)
    assert take(again, 5) == expected


def test_processes_ignore_a_signal_to_the_whole_job(streamed):
    stream, reference = batches(streamed), resident()
    assert take(stream) == take(reference)
    processes = children()
    assert len(processes) == 2
    for process in processes:
        os.kill(process.pid, signal.SIGTERM)
        os.kill(process.pid, signal.SIGINT)
    assert take(stream, 9) == take(reference, 9)  # more than was read ahead
    assert children() == processes


def test_processes_end_when_the_stream_is_closed_or_deleted(streamed):
    stream, reference = batches(streamed), resident()
    assert take(stream, 2) == take(reference, 2)
    processes = children()
    stream.close()
    assert not any(is_alive(process.pid) for process in processes)

    shared = torch.from_numpy(PIXELS[KEPT]).share_memory_()
    again = batches(Streamed(shared, LABELS, workers=1), seed=9)
    again.restore(stream.state())
    assert children() == []  # they start with the first batch
    assert take(again, 2) == take(reference, 2)
    (process,) = children()
    del again
    assert not is_alive(process.pid)


def test_processes_read_the_crops_that_were_drawn(tmp_path):
    write_photographs(tmp_path, {"train": 4, "val": 1})
    x = load_images(Data(path=str(tmp_path), decode="as_read", image_size=16), tmp_path).train_x
    scaling = Scaling(np.asarray(x), "pixel", CPU)
    source = Streamed(x, torch.arange(24), workers=1)
    options = {"batch_size": 9, "seed": 0, "pad": 4, "flip": True, "sides": (18, 34)}
    stream = Batches(source, scaling, **options)
    draws, state = Draws(24, **options | {"pad": 0}), stream.state()
    for _ in range(4):
        batch, drawn = stream.take(), draws.next()
        assert torch.equal(batch.numbers, drawn.numbers)
        assert np.array_equal(batch.pixels, x.crop(drawn.crops))
        images, _ = stream.images(batch)
        mirrored = drawn.numbers[3].bool()
        expected = scaling(batch.pixels)
        assert torch.equal(images[~mirrored], expected[~mirrored])
        assert torch.equal(images[mirrored], expected[mirrored].flip(3))
    assert stream.hash == draws.hash
    stream.restore(state)
    assert torch.equal(
        stream.take().pixels, torch.from_numpy(x.crop(Draws(24, **options | {"pad": 0}).next().crops))
    )

    for file in tmp_path.glob("train/*/*"):
        file.write_text("no image")
    stream.restore(state)
    with pytest.raises(BadInput, match=r"^image .*\.jpg cannot be read \([^\n]*\): replace or remove it$"):
        stream.take()
    stream.close()


@pytest.mark.parametrize(("threads", "copying"), [(1, 1), (3, 3), (16, 4)])
def test_a_run_reads_with_its_share_of_the_cores(tmp_path, monkeypatch, threads, copying):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    files = Files.of(tmp_path, [tmp_path / "a.jpg"], 16)
    assert stream_workers(files) == Streamed(files, LABELS).workers == threads
    assert stream_workers(torch.from_numpy(PIXELS)) == copying


# The thread that talks to a process is the last to hold its semaphores. Here it pauses while it releases one,
# so a program that does not wait for the thread usually ends with a warning.
SLOW_THREADS = """
import multiprocessing.queues, multiprocessing.synchronize, threading, time

def after(seconds, function):
    def slow(*arguments):
        function(*arguments)
        if threading.current_thread() is not threading.main_thread():
            time.sleep(seconds)
    return slow

multiprocessing.queues.Queue._feed = staticmethod(after(0.0003, multiprocessing.queues.Queue._feed))
multiprocessing.synchronize.sem_unlink = after(0.1, multiprocessing.synchronize.sem_unlink)
"""

LEFT_OPEN = """
import multiprocessing, torch
from depthbench.data.source import Streamed

stream = Streamed(torch.arange(8, dtype=torch.uint8).reshape(8, 1, 1, 1), torch.arange(8), workers=1)
stream.begin(iter([torch.tensor([6, 7]).numpy()] * 9))
print(stream.next().flatten().tolist(), *(process.pid for process in multiprocessing.active_children()))
"""


ORPHAN = """
import multiprocessing, os, signal, threading, time, torch
from depthbench.data.source import Streamed

def die():
    while not multiprocessing.active_children():
        time.sleep(0.001)
    print(multiprocessing.active_children()[0].pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

threading.Thread(target=die).start()
stream = Streamed(torch.arange(8, dtype=torch.uint8).reshape(8, 1, 1, 1), torch.arange(8), workers=1)
stream.begin(iter([torch.tensor([6, 7]).numpy()] * 9))
stream.next()
"""


@pytest.fixture(scope="module")
def programs():
    """Start both programs at once, because each imports torch twice."""
    ignore = "ignore::UserWarning:multiprocessing.resource_tracker"
    arguments = {"left open": ["-c", SLOW_THREADS + LEFT_OPEN], "orphan": ["-W", ignore, "-c", ORPHAN]}
    started = {
        name: subprocess.Popen([sys.executable, *words], stdout=PIPE, stderr=PIPE, text=True)
        for name, words in arguments.items()
    }
    yield started
    for program in started.values():
        program.kill()


def test_processes_end_with_python(programs):
    stdout, stderr = programs["left open"].communicate(timeout=60)
    pixels, pid = stdout.rsplit(maxsplit=1)
    assert pixels == "[6, 7]"
    assert not is_alive(int(pid))
    assert (programs["left open"].returncode, stderr) == (0, "")


def test_a_process_ends_if_its_parent_dies_while_it_starts(programs):
    # communicate() returns when no process holds the output any more
    stdout, _ = programs["orphan"].communicate(timeout=60)
    assert programs["orphan"].returncode == -signal.SIGKILL
    assert not is_alive(int(stdout))


class Busy:
    """Images whose process always has a thread at work in torch, like one that shares a batch."""

    def __getitem__(self, request):
        threading.Thread(target=self.work, daemon=True).start()
        return torch.from_numpy(PIXELS[request])

    def work(self):
        while True:
            torch.zeros(1 << 20).sum()


def test_a_process_ends_while_its_threads_work(capfd):
    source = Streamed(Busy(), LABELS, workers=1)
    source.begin(iter([np.arange(3)] * 9))
    assert np.array_equal(source.next(), PIXELS[:3])
    source.close()
    assert capfd.readouterr().err == ""


class Slow:
    """Images that take half a second to read."""

    def __getitem__(self, request):
        time.sleep(0.5)
        return torch.from_numpy(PIXELS[request])


def test_if_one_process_is_killed_close_ends_the_others():
    others = set(children())
    source = Streamed(Slow(), LABELS, workers=2)
    source.begin(iter([np.arange(3)] * 9))
    source.next()
    one, other = set(children()) - others
    one.kill()
    with pytest.raises(RuntimeError, match="DataLoader worker") as error:
        [source.next() for _ in range(8)]
    source.close()
    assert not other.is_alive()
    del error  # its frames, and all they refer to, existed until here


@pytest.mark.cuda
def test_a_stream_to_a_gpu():
    device = torch.device("cuda")
    there = Scaling(PIXELS[KEPT], "pixel", device)
    shared = torch.from_numpy(PIXELS[KEPT]).share_memory_()
    source = Streamed(shared, LABELS.to(device), workers=2)
    stream = Batches(source, there, batch_size=16, seed=0, pad=1, flip=True)
    reference = resident()
    for _ in range(9):
        x, y = stream.images(stream.take())
        expected_x, expected_y = reference.images(reference.take())
        torch.testing.assert_close(x.cpu(), expected_x)
        assert torch.equal(y.cpu(), expected_y)
    assert stream.hash == reference.hash
    stream.close()
    assert multiprocessing.active_children() == []
