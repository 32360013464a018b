"""A process that trains one run after another, as its parent asks.

Started as `python -m depthbench.execution.worker FD`, not through multiprocessing's own spawning, so that a
caller's script needs no `if __name__ == "__main__"`. It is told (Run, directory), and tells
("progress", event) and ("end", status, reason). Anything else that is sent, or the parent's death, means:
keep your state and stop."""

import signal
import sys
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from depthbench.catalog import load_plugin
from depthbench.store import RunStore, describe


def serve(connection: Connection) -> None:
    """Train runs until the parent says stop. Ends after the first error: the process may be spoilt."""
    setup: dict[str, Any] = connection.recv()
    for plugin in setup["plugins"]:
        load_plugin(plugin)
    import torch

    from depthbench.data.load import load_images
    from depthbench.training.loop import train

    torch.set_num_threads(setup["threads"])
    images = load_images(setup["data"], setup["data_dir"])
    device = torch.device(setup["device"])
    while True:
        run, path = connection.recv()
        store = RunStore(Path(path))
        torch.set_num_threads(setup["threads"])
        try:
            record = train(
                run,
                images,
                store,
                device,
                data_hash=setup["data_hash"],
                report=lambda event: connection.send(("progress", event)),
                should_stop=connection.poll,
                keep_checkpoint=setup["keep_checkpoint"],
            )
        except (BrokenPipeError, ConnectionResetError):
            return  # the parent is gone; what it is to know stands in the checkpoint
        except Exception as error:
            reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"
            store.write((store.read() or describe(run)) | {"status": "failed", "reason": reason})
            (store.path / "error.txt").write_text(traceback.format_exc(), encoding="utf-8")
            connection.send(("end", "failed", reason))
            return
        connection.send(("end", record["status"], None))
        if record["status"] == "interrupted":
            return


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    try:
        serve(Connection(int(sys.argv[1])))
    except (EOFError, OSError):
        sys.exit(1)  # the parent is gone
