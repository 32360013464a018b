"""A process that trains one run after another, as its parent asks.

It is told what all runs share, then (Run, directory) again and again, and tells ("progress", event) and
("end", status, reason). "stop", or the parent's death, means: keep your state and end."""

import contextlib
import signal
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from depthbench.catalog import load_plugin
from depthbench.errors import BadInput
from depthbench.execution.process import parent
from depthbench.store import RunStore, describe
from depthbench.study import Run


def serve(connection: Connection) -> None:
    """Train runs until the parent says stop. Ends after the first error: the process may be spoilt."""
    setup = connection.recv()
    train = None
    while True:
        message = connection.recv()
        if message == "stop":
            return
        run, store = message[0], RunStore(Path(message[1]))
        try:
            train = train or _prepared(setup, connection)
            status = train(run, store)
        except Exception as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            _tell(connection, ("end", "failed", reason))  # first: it may be the disk that is full
            with contextlib.suppress(OSError):
                store.write((store.read() or describe(run)) | {"status": "failed", "reason": reason})
                (store.path / "error.txt").write_text(traceback.format_exc(), encoding="utf-8")
            return
        _tell(connection, ("end", status, None))
        if status == "interrupted":
            return


def _prepared(setup: dict[str, Any], connection: Connection) -> Callable[[Run, RunStore], str]:
    """What all runs share, loaded: a function that trains one and gives its status."""
    for plugin in setup["plugins"]:
        load_plugin(plugin)
    import torch

    from depthbench.data.load import load_images
    from depthbench.training.loop import train

    images = load_images(setup["data"], setup["data_dir"])
    if images.content_hash() != setup["data_hash"]:
        raise BadInput(f"the images of {setup['data'].name} have changed since the study was begun")

    def train_one(run: Run, store: RunStore) -> str:
        torch.set_num_threads(setup["threads"])  # a resumed run may have changed it
        record = train(
            run,
            images,
            store,
            torch.device(setup["device"]),
            data_hash=setup["data_hash"],
            report=lambda event: _tell(connection, ("progress", event)),
            should_stop=connection.poll,
            keep_checkpoint=setup["keep_checkpoint"],
        )
        (store.path / "error.txt").unlink(missing_ok=True)  # of an earlier try
        return record["status"]

    return train_one


def _tell(connection: Connection, message: tuple) -> None:
    """Send. Where nobody listens any more, `connection.poll` is true from then on, which means: stop."""
    with contextlib.suppress(OSError):
        connection.send(message)


if __name__ == "__main__":
    signal.signal(
        signal.SIGTERM, signal.SIG_IGN
    )  # sent to a whole job; the parent, which got it too, decides
    with contextlib.suppress(EOFError):  # the parent is gone
        serve(parent())
