"""Test errors on corrupted images, at graded strengths (data/corruptions.py)."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from depthbench.data.batches import Scaling
from depthbench.data.corruptions import CORRUPTIONS
from depthbench.data.corruptions.corrupted import Corrupted
from depthbench.data.pixels import Pixels
from depthbench.training.evaluate import percent_wrong, predict

Row = dict[str, str | float]  # corruption, strength, test_error (percent)


def robustness_errors(
    network: nn.Module,
    x: Pixels,
    y: Tensor,
    names: Sequence[str],
    clean_error: float,
    white: int,
    scaling: Scaling,
    precision: str,
    should_stop: Callable[[], bool] = lambda: False,
    tell: Callable[[str], None] = lambda what: None,
) -> list[Row] | None:
    """A row for each strength of the corruptions `names`, and for strength 0: the test error (percent) of
    `network`, in evaluation mode, on the images x (N, C, H, W) uint8, labelled y (N,), so corrupted. Strength
    0 is `clean_error`, known already. `white`: the greatest value of a pixel.

    None as soon as `should_stop` says so; it is asked between batches. `tell` is told what is done."""
    rows = []
    for name in names:
        rows.append({"corruption": name, "strength": 0.0, "test_error": clean_error})
        for strength in CORRUPTIONS[name].strengths:
            tell(f"test images {name}, {strength:g}")
            sets = {name: (Corrupted(x, name, strength, white), y)}
            predicted = predict(network, sets, scaling, precision, should_stop)
            if predicted is None:
                return None
            error = percent_wrong(predicted[name], y)
            rows.append({"corruption": name, "strength": float(strength), "test_error": error})
    return rows


def chance_rows(names: Sequence[str], chance_error: float) -> list[Row]:
    """The same of a diverged run, which guesses."""
    return [
        {"corruption": name, "strength": float(strength), "test_error": chance_error}
        for name in names
        for strength in (0, *CORRUPTIONS[name].strengths)
    ]
