"""The ImageNet protocol of He et al. 2015, sec. 3.4, end to end on a small folder.

Images are decoded as they are read. Scale and colour are augmented, the rate follows plateaus, and the final
errors are over 10 crops."""

import pytest
from torch.utils.data import DataLoader

from depthbench.data import source
from depthbench.data.load import load_images
from depthbench.errors import BadInput
from depthbench.store.results import load_results
from depthbench.store.run_store import RunStore
from depthbench.study.file import load_study
from depthbench.training.loop import finish, train
from depthbench.training.mode import TrainingMode
from tests.data.photographs import write_photographs
from tests.processes import children
from tests.training.test_loop import assert_same_tables, stop_after

ERRORS = ("test_error_10crop", "test_error_top5", "test_error_top5_10crop")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_photographs(tmp_path_factory.mktemp("photographs"), {"train": 8, "val": 3})


def read_in_this_process(monkeypatch):
    """Read files in this process, because starting another takes seconds."""

    def make_loader(streamed):
        return DataLoader(source._Reader(streamed.x), batch_size=None, sampler=streamed._requests)

    monkeypatch.setattr(source.Streamed, "_make_loader", make_loader)


def study(root, **recipe):
    steps = {"steps": 12, "batch_size": 10, "lr": 0.01, "warmup": "none"}
    protocol = {"schedule": "plateau", "plateau_patience": 1, "augmentation": "scale", "colour": True}
    return load_study(
        None,
        name="photographs",
        data={"path": str(root), "image_size": 32, "decode": "as_read", "normalisation": "pixel"},
        options={"width": 4},
        recipe=steps | protocol | recipe,
        evaluate={"every": 2, "log_every": 2, "ten_crop": True},
        grid={"network": ["plain_imagenet", "resnet_imagenet"], "depth": [18], "seed": [0]},
    ).resolve(48, flips=True)


@pytest.fixture
def trained(tmp_path, root):
    def make(run, folder="runs", **options):
        images = load_images(run.data, tmp_path)
        store = RunStore(tmp_path / folder / "runs" / run.run_id)
        return finish(train(run, images, store, TrainingMode(), data_hash="hash", **options)), store

    return make


def test_twins_see_the_same_crops_and_end_with_ten_crop_errors(root, trained, tmp_path, monkeypatch):
    read_in_this_process(monkeypatch)
    settled = study(root)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "study.toml").write_text(settled.to_toml())
    plain, residual = (trained(run)[0] for run in settled.runs())
    assert plain.status == residual.status == "done"
    assert plain.hashes == residual.hashes
    assert plain.parameters == residual.parameters
    runs = load_results(tmp_path / "runs").runs
    for key in ERRORS:
        assert runs[key].between(0, 100).all()
        assert runs[key].tolist() == [getattr(record.final, key) for record in (plain, residual)]
    assert (runs.test_error_top5_10crop <= runs.test_error_10crop).all()
    assert (runs.test_error_top5 <= runs.test_error).all()


def test_a_resumed_run_of_files_equals_an_uninterrupted_one_bit_for_bit(root, trained, monkeypatch):
    run = next(study(root).runs())
    with monkeypatch.context() as patch:
        patch.setattr(source, "stream_workers", lambda x: 1)
        whole, store = trained(run, "whole")  # another process reads the files
    read_in_this_process(monkeypatch)
    for checks, step in ((13, 7), (24, 12)):  # between evaluations, and before the 10 crops
        stopped, parts = trained(run, "parts", should_stop=stop_after(checks))
        assert (stopped.status, stopped.step) == ("interrupted", step)
        assert "test_error_10crop" not in stopped.final.to_dict()
        resumed, _ = trained(run, "parts")
        assert_same_tables(store, parts)
        assert resumed.final == whole.final
        assert resumed.hashes == whole.hashes
        parts.path.rename(parts.path.with_name(f"stopped at {step}"))
    rates = store.frame("history").lr
    assert rates.nunique() > 1  # the state of the schedule is resumed too
    assert set(rates) <= {0.01 * 0.1**drops for drops in range(7)}


def test_a_diverged_run_is_at_chance_in_all_errors(root, trained, monkeypatch):
    read_in_this_process(monkeypatch)
    record, _ = trained(next(study(root, lr=1e30, schedule="constant").runs()))
    assert record.status == "diverged"
    assert [getattr(record.final, key) for key in ERRORS] == pytest.approx([500 / 6, 100 / 6, 100 / 6])


def test_an_unreadable_file_ends_the_run_and_is_named(root, trained, tmp_path, monkeypatch):
    monkeypatch.setattr(source, "stream_workers", lambda x: 1)
    write_photographs(tmp_path / "photographs", {"train": 8, "val": 3})
    file = tmp_path / "photographs" / "val" / "class4" / "1.jpg"
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(BadInput, match=r"class4/1\.jpg cannot be read"):
        trained(next(study(tmp_path / "photographs").runs()))
    assert children() == []
