import numpy as np
import pytest

from depthbench.data import statistics
from depthbench.data.load import load_images
from depthbench.data.settings import Data
from tests.data.photographs import write_photographs


def test_chunks_contain_all_images_in_order():
    x = np.arange(9001, dtype=np.uint16).reshape(-1, 1, 1, 1)
    chunks = list(statistics.in_chunks(x))
    assert len(chunks) > 1
    assert np.array_equal(np.concatenate(chunks), x)


@pytest.mark.parametrize(("most", "sizes"), [(12, [10]), (10, [10]), (9, [5, 5]), (4, [4, 3, 3])])
@pytest.mark.parametrize("limit", ["MAX_IMAGES", "MAX_BYTES"])
def test_no_chunk_exceeds_a_limit(monkeypatch, limit, most, sizes):
    monkeypatch.setattr(statistics, limit, most)
    x = np.zeros((10, 1, 1, 1), np.uint8)
    assert [len(chunk) for chunk in statistics.in_chunks(x)] == sizes


def test_statistics_use_all_images_or_a_seeded_sample_of_files(tmp_path, monkeypatch):
    monkeypatch.setattr(statistics, "SAMPLE_SIZE", 5)
    write_photographs(tmp_path, {"train": 4, "val": 1})
    x = load_images(Data(path=str(tmp_path), decode="as_read", image_size=8), tmp_path).train_x
    one, same, other = (statistics.sample_for_statistics(x, seed) for seed in (0, 0, 1))
    assert one.shape == (5, 3, 8, 8)
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    everything = {image.tobytes() for image in np.asarray(x)}
    assert {image.tobytes() for image in one} <= everything
    assert len({image.tobytes() for image in one}) == 5
    decoded = np.asarray(x)
    assert statistics.sample_for_statistics(decoded, 0) is decoded
