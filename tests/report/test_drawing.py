import errno
import multiprocessing
import socket
import subprocess
import time

import pytest

from depthbench.report import FIGURES, drawing
from depthbench.report.copies import CopyDied
from tests.report.conftest import evidence_of


@pytest.mark.slow
@pytest.mark.parametrize("copies", [True, False])
def test_other_processes_draw_the_same_figures_and_end(results, tmp_path, monkeypatch, copies):
    entries = {name: FIGURES[name] for name in ("degradation", "curves")}
    evidence = evidence_of(results)
    here = drawing.draw_figures(entries, evidence, networks=2, folder=tmp_path / "here")
    monkeypatch.setattr(drawing, "MANY_FIGURES", 2)
    monkeypatch.setattr(drawing, "can_copy", lambda: copies)
    there = drawing.draw_figures(entries, evidence, networks=2, folder=tmp_path / "there")
    assert there == here
    files = sorted(path.name for path in (tmp_path / "here").iterdir())
    assert files == ["curves.png", "curves.svg", "degradation.png", "degradation.svg"]
    for name in files:
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()
    until = time.monotonic() + 30
    while any(child.name.startswith(("Fork", "Loky")) for child in multiprocessing.active_children()):
        assert time.monotonic() < until
        time.sleep(0.1)


def test_figures_are_drawn_here_if_a_process_is_killed(results, tmp_path, monkeypatch, capsys):
    def dies(calls, most):
        raise CopyDied("a process was killed (exit code -9)")

    monkeypatch.setattr(drawing, "MANY_FIGURES", 1)
    monkeypatch.setattr(drawing, "can_copy", lambda: True)
    monkeypatch.setattr(drawing, "in_copies", dies)
    entries = {"reach": FIGURES["reach"]}
    (drawn,) = drawing.draw_figures(entries, evidence_of(results), networks=2, folder=tmp_path)
    assert drawn.name == "reach"
    assert capsys.readouterr().err == (
        "depthbench: drawing in one process, because a process was killed (exit code -9)\n"
    )


def test_a_full_disk_leaves_no_temporary_file_of_a_killed_process(results, tmp_path, monkeypatch):
    dead = subprocess.Popen(["true"])
    dead.wait()
    part = tmp_path / f".curves.png.{socket.gethostname()}-{dead.pid}.abc.part"

    def fail(calls, most):
        part.touch()  # of a copy that is killed when another one raises
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(drawing, "MANY_FIGURES", 1)
    monkeypatch.setattr(drawing, "can_copy", lambda: True)
    monkeypatch.setattr(drawing, "in_copies", fail)
    with pytest.raises(OSError, match="No space left"):
        drawing.draw_figures({"reach": FIGURES["reach"]}, evidence_of(results), networks=2, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []
