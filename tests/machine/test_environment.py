import subprocess

import torch

from depthbench.machine import environment


def test_the_environment_has_versions_threads_and_device():
    described = environment.describe_environment(torch.device("cpu"), threads=3)
    assert described["torch"] == torch.__version__.split("+")[0] or described["torch"] == torch.__version__
    assert described["threads"] == 3
    assert described["device"] == f"cpu ({environment.cpu_name()})"


def test_the_name_of_a_processor_includes_its_instructions(monkeypatch):
    def name_with(instructions):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: instructions)
        return environment.cpu_name()

    name = name_with("DEFAULT")
    assert name
    assert name_with("AVX2") == f"{name}, AVX2"


def test_the_commit_is_that_of_the_checkout_or_none(tmp_path, monkeypatch):
    environment.commit.cache_clear()
    monkeypatch.setattr(environment, "__file__", str(tmp_path / "machine" / "environment.py"))
    assert environment.commit() is None

    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    (tmp_path / "machine").mkdir()
    (tmp_path / "machine" / "environment.py").write_text("")
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *words], check=True)
    environment.commit.cache_clear()
    clean = environment.commit()
    assert len(clean) == 40
    (tmp_path / "machine" / "environment.py").write_text("changed")
    environment.commit.cache_clear()
    assert environment.commit() == f"{clean}-dirty"
    environment.commit.cache_clear()
