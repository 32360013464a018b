import os

import pytest
import torch

from depthbench.errors import BadInput
from depthbench.execution.checks import check_importable, check_settings, check_writable
from depthbench.execution.plan import make_plan
from depthbench.execution.settings import Execution
from depthbench.networks import NETWORKS, Family


@pytest.mark.parametrize("step", ["captured", "compiled"])
def test_a_captured_step_needs_a_gpu(tiny, tmp_path, step):
    with pytest.raises(BadInput, match=f"--step {step} needs a CUDA device"):
        make_plan(tiny(), Execution(tmp_path, device="cpu", step_mode=step))


def test_an_unknown_step_mode_is_refused(tiny, tmp_path):
    with pytest.raises(BadInput, match="use auto, eager, captured or compiled"):
        make_plan(tiny(), Execution(tmp_path, device="cpu", step_mode="fast"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch": 3}, "network 'transformer': images of 8x8 pixels cannot be cut into patches of 3x3; set "),
        ({"patch": 16}, "network 'transformer': .* into patches of 16x16; set options.patch to 8"),
        ({"heads": 5}, "network 'transformer': heads = 5 does not divide width = 64; use 4 or 8 heads"),
    ],
)
def test_options_that_do_not_suit_the_images_are_refused(tiny, tmp_path, options, message):
    study = tiny(grid={"network": ["transformer"], "depth": [1]}, options=options | {"width": 64})
    with pytest.raises(BadInput, match=message):
        make_plan(study, Execution(tmp_path, device="cpu"))


@pytest.mark.parametrize(
    ("network", "depth", "smallest"), [("vgg_imagenet", 16, 32), ("googlenet_imagenet", 22, 15)]
)
def test_images_that_are_too_small_for_a_network_are_refused(tiny, tmp_path, network, depth, smallest):
    study = tiny(grid={"network": ["vgg", network] if depth == 16 else [network], "depth": [depth]})
    message = (
        f"network '{network}': its stem and pooling leave nothing of images of 8x8 pixels; use images of at "
        f"least {smallest}x{smallest}, or a network for small images"
    )
    with pytest.raises(BadInput) as error:
        make_plan(study, Execution(tmp_path, device="cpu"), executes=False)
    assert str(error.value) == message


def test_tf32_needs_cuda(tiny, tmp_path):
    with pytest.raises(BadInput, match="tf32 needs a CUDA device"):
        make_plan(tiny(recipe={"precision": "tf32"}), Execution(tmp_path, device="cpu"))


def test_a_network_that_cannot_be_compiled_is_refused_before_any_run(tiny, tmp_path):
    study = tiny(grid={"network": ["plain", "resnet_mlp"]}, options={"width": 16})
    with pytest.raises(BadInput, match="--step compiled: network 'resnet_mlp' cannot be compiled; use capt"):
        make_plan(study, Execution(tmp_path, device="cpu", step_mode="compiled"))
    with pytest.raises(BadInput, match="--step compiled needs a CUDA device"):
        make_plan(tiny(), Execution(tmp_path, device="cpu", step_mode="compiled"))


def test_a_file_in_place_of_the_results_directory_is_refused(tiny, tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(BadInput, match="is a file"):
        make_plan(tiny(), Execution(tmp_path / "taken", device="cpu"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_results_directory_that_cannot_be_created_is_refused(tiny, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(BadInput, match="not writable"):
        make_plan(tiny(), Execution(tmp_path / "results", device="cpu"))


def test_a_results_directory_that_is_not_writable_is_refused(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(BadInput, match="is not writable; use another --results DIR"):
        make_plan(tiny(), Execution(tmp_path / "results", device="cpu"))


def test_an_option_that_a_network_does_not_take_is_refused(tiny, tmp_path, monkeypatch):
    from depthbench.networks import NETWORKS, Family

    monkeypatch.setitem(
        NETWORKS, "fixed", Family(lambda depth, in_channels, num_classes: None, source="plug-in")
    )
    with pytest.raises(BadInput, match=r"network 'fixed' cannot be built .*'width'"):
        make_plan(tiny(grid={"network": ["fixed"]}), Execution(tmp_path, device="cpu"))


def test_checking_a_directory_creates_nothing(tmp_path):
    check_writable(tmp_path / "results" / "study")
    assert list(tmp_path.iterdir()) == []


def test_less_than_one_job_is_refused(tiny, tmp_path):
    with pytest.raises(BadInput, match="--jobs 0: use auto or a whole number"):
        make_plan(tiny(), Execution(tmp_path, device="cpu", jobs=0))


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"step_mode": "captured"}, "--step captured: several processes can only make eager steps"),
        ({"jobs": 4}, "--jobs 4: the processes of torchrun train one run at a time"),
        ({"device": "cuda:1"}, "--device cuda:1: each process has a GPU of its own; use cuda"),
        ({"backend": "local"}, "--on local: torchrun started 20 processes"),
        ({}, "batch_size = 16: the run has 20 processes.*at most 16 processes"),
    ],
)
def test_what_several_processes_cannot_do(tiny, start_torchrun, settings, match):
    start_torchrun(size=20)
    execution = Execution(**{"device": "cpu", **settings})
    with pytest.raises(BadInput, match=match):
        check_settings(tiny(), execution, "cpu")


def test_several_processes_need_torchrun(tiny):
    with pytest.raises(BadInput, match="--on ddp needs several processes: `torchrun"):
        check_settings(tiny(), Execution(device="cpu", backend="ddp"), "cpu")


class InCell(torch.nn.Linear):
    """A class of a notebook, for the processes that train: they import no test."""


@pytest.mark.parametrize("target", [InCell, "__main__:InCell"])
def test_what_other_processes_cannot_import_is_refused(tiny, tmp_path, monkeypatch, target):
    monkeypatch.setitem(NETWORKS, "mine", Family(target))
    study = tiny(grid={"network": ["plain", "mine"]})
    with pytest.raises(BadInput, match=r"network 'mine' exists in this notebook or script only.*plugins="):
        check_importable(study)
    with pytest.raises(BadInput, match="network 'mine' "):
        make_plan(study, Execution(tmp_path / "results", device="cpu"))
    assert not (tmp_path / "results").exists()


def test_a_loaded_plug_in_must_be_named_by_the_study(tiny, failing_networks):
    with pytest.raises(BadInput, match=r"network 'small': .* add plugins=\['.*failing_networks.py'\]"):
        check_importable(tiny(grid={"network": ["small"]}))
    check_importable(tiny(grid={"network": ["small"]}, plugins=[failing_networks]))


@pytest.mark.parametrize("backend", ["ray", "slurm"])
def test_a_plan_of_other_machines_is_executed_but_not_costed(tiny, tmp_path, backend):
    execution = Execution(tmp_path, backend=backend, slurm=(("cluster", "local"),) * (backend == "slurm"))
    with pytest.raises(BadInput, match=f"--on {backend}: `depthbench plan` measures this machine only"):
        make_plan(tiny(), execution, executes=False)
    assert make_plan(tiny(), execution).todo
