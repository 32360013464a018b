import subprocess
import sys

from depthbench.execution import janitor
from tests.processes import is_alive

WRITER = "import sys, time; f = open(sys.argv[1], 'w'); print(flush=True); time.sleep(600)"


def test_a_janitor_ends_the_processes_that_write_to_its_folder(tmp_path):
    folder = tmp_path / "cluster"
    folder.mkdir()
    files = [folder / "log", tmp_path / "other"]
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(file)], stdout=subprocess.PIPE) for file in files
    ]
    for writer in writers:
        writer.stdout.readline()  # it has opened its file
    process = janitor.watch(str(folder))
    own = (folder / "own").open("w")
    assert process.poll() is None
    assert folder.exists()
    process.stdin.close()  # as if this process had died
    process.wait()
    assert [is_alive(writer.pid) for writer in writers] == [False, True]
    assert not folder.exists()
    own.close()  # a command outlives its janitor, although it writes to the folder too
    writers[1].kill()
    for writer in writers:
        writer.wait()
