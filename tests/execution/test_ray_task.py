"""Tests of a task of the Ray backend."""

import tempfile
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from depthbench.events import Alive
from depthbench.execution import ray_task
from depthbench.execution.messages import StartRun
from depthbench.execution.ray_task import Line, plugin_files
from depthbench.plugins.loading import Plugin
from depthbench.training.mode import TrainingMode

ray = pytest.importorskip("ray")


def test_plugins_are_at_the_same_paths_in_each_run_of_a_process_and_leave_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ray_task.plugin_folder.cache_clear()
    file = Path("mine.py")
    plugins = (
        Plugin(file, {"mine.py": b"NETWORKS = {}"}),
        Plugin(file, {"mine.py": b"", "part/one.py": b"1"}),
    )
    seen = []
    for _ in range(2):
        with plugin_files(plugins) as paths:
            seen.append([(path, Path(path).read_bytes()) for path in paths])
            assert Path(paths[1]).with_name("part").joinpath("one.py").read_bytes() == b"1"
        assert list(tmp_path.iterdir()) == []
    assert seen[0] == seen[1]
    assert [content for _, content in seen[0]] == [plugin.files["mine.py"] for plugin in plugins]
    ray_task.plugin_folder.cache_clear()


def test_a_task_that_reads_images_is_alive(tiny, tmp_path, monkeypatch):
    (run, *_) = tiny().runs()
    sent = threading.Event()
    monkeypatch.setattr(ray_task, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(ray, "get", lambda answer: answer)
    mailbox = SimpleNamespace(
        put=SimpleNamespace(remote=lambda event: isinstance(event, Alive) and sent.set()),
        should_stop=SimpleNamespace(remote=lambda: False),
    )
    line = Line(StartRun(run, tmp_path, TrainingMode()), mailbox)
    assert not sent.wait(0.1)
    line.is_reading = True
    assert sent.wait(10)
    line.has_ended.set()
