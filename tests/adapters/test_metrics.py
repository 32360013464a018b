import pytest

from depthbench.adapters.metrics import Metrics
from depthbench.errors import BadInput


def test_values_are_found_by_the_names_of_the_loop():
    metrics = Metrics({"train_error": "err", "val_error": "val_err"})
    logged = {"err": 30.0, "val_err": 40.0, "other": 1.0}
    assert metrics.values_of(logged) == {"train_error": 30, "val_error": 40}
    assert metrics.values_of(logged, ("train_error",)) == {"train_error": 30}
    assert metrics.missing() == []


def test_a_metric_that_never_appears_is_named_once_with_those_that_did():
    metrics = Metrics({"train_error": "err", "val_error": "val_er"})
    metrics.values_of({"val_err": 40.0, "val_loss": 1.0}, ("val_error",))
    assert metrics.missing(("val_error",)) == [
        "metrics={'val_error': 'val_er'}: no 'val_er' has been logged so far; logged: 'val_err', 'val_loss'"
    ]
    assert [line[:30] for line in metrics.missing()] == ["metrics={'train_error': 'err'}"]
    assert metrics.missing() == []
    (line,) = Metrics({"lr": "rate"}).missing()
    assert line.endswith("logged: nothing")


def test_an_unknown_column_is_refused():
    message = (
        r"^DepthbenchCallback: metrics=\{'val_err': ...\}: did you mean 'val_error'\? Columns: epoch, .*$"
    )
    with pytest.raises(BadInput, match=message):
        Metrics({"val_err": "val_error"})


@pytest.mark.parametrize(
    ("names", "shown"),
    [(["val_err"], "['val_err']"), ("val_err", "'val_err'"), ({"val_error": 3}, "{'val_error': 3}")],
)
def test_metrics_that_are_no_names_are_refused(names, shown):
    with pytest.raises(BadInput) as error:
        Metrics(names)
    assert str(error.value).startswith(f"DepthbenchCallback: metrics={shown}: pass a dict from columns")
    assert "\n" not in str(error.value)
