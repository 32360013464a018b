"""A real fit of Lightning, compared with a loop by hand."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import depthbench
from depthbench.errors import BadInput
from depthbench.probes import PROBES
from depthbench.store.results import load_results

pytestmark = pytest.mark.filterwarnings("ignore")  # of Lightning, on its own settings

OPTIONS = {"name": "net", "every": 1, "probes": list(PROBES)}


@pytest.fixture(autouse=True, scope="module")
def lightning():
    """Import Lightning, or skip the tests. Its import takes seconds, also where these tests do not run."""
    return pytest.importorskip("lightning")


def build():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3))


def batches(count=4):
    generator = torch.Generator().manual_seed(1)
    return [(torch.randn(6, 5, generator=generator), torch.arange(6) % 3) for _ in range(count)]


def train_by_hand(path, accumulated=1, clip=None):
    network, data = build(), batches()
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9)
    watch = depthbench.watch(network, path, **OPTIONS)
    for start in range(0, len(data), accumulated):
        with watch.step():
            for x, y in data[start : start + accumulated]:
                (F.cross_entropy(network(x), y) / accumulated).backward()
            if clip:
                torch.nn.utils.clip_grad_norm_(network.parameters(), clip)
            optimizer.step()
            optimizer.zero_grad()
        watch.log(loss=0.0)
    watch.close()
    return load_results(path)


METRICS = {"train_error": "err", "val_error": "val_err"}


def fit(path, error=None, decay=1.0, log_every=None, metrics=METRICS, **options):
    from lightning.pytorch import LightningModule, Trainer
    from torch.utils.data import DataLoader

    from depthbench.adapters.lightning import DepthbenchCallback

    class Module(LightningModule):
        def __init__(self):
            super().__init__()
            self.network = build()

        def training_step(self, batch, index):
            if error is not None and index == 2:
                raise error
            x, y = batch
            logits = self.network(x)
            self.log("err", 100.0 * (logits.argmax(1) != y).float().mean())
            return F.cross_entropy(logits, y)

        def validation_step(self, batch, index):
            self.log("val_err", 40.0)

        def configure_optimizers(self):
            optimizer = torch.optim.SGD(self.parameters(), 0.1, momentum=0.9)
            scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, decay)
            return [optimizer], [{"scheduler": scheduler, "interval": "step"}]

    callback = DepthbenchCallback(path, metrics, log_every=log_every, **OPTIONS)
    silent = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(
        max_epochs=1,
        accelerator="cpu",
        callbacks=[callback],
        enable_checkpointing=False,
        log_every_n_steps=1,
        **silent,
        **options,
    )
    data = DataLoader(batches(), batch_size=None)
    trainer.fit(Module(), data, data)
    return load_results(path)


@pytest.mark.parametrize("settings", [{}, {"accumulated": 2, "clip": 0.01}])
def test_a_fit_has_the_values_of_a_loop_by_hand(tmp_path, settings):
    expected = train_by_hand(tmp_path / "hand", **settings)
    options = {
        "accumulate_grad_batches": settings.get("accumulated", 1),
        "gradient_clip_val": settings.get("clip"),
    }
    results = fit(tmp_path / "fit", **options)
    assert [name.removeprefix("network.") for name in results.layers["name"]] == list(expected.layers["name"])
    for column in ("step", *PROBES):
        assert results.layers[column].equals(expected.layers[column])
    row = results.runs.iloc[0]
    assert (row["status"], row["step"], row["val_error"]) == ("done", 4 // settings.get("accumulated", 1), 40)


def test_the_history_has_the_loss_of_each_update(tmp_path):
    history = fit(tmp_path / "fit", accumulate_grad_batches=2).history
    network = build()
    losses = [F.cross_entropy(network(x), y).item() for x, y in batches(2)]
    assert history["step"].tolist() == [2]
    assert history["lr"].tolist() == [0.1]
    assert history["val_error"].tolist() == [40]
    results = fit(tmp_path / "short", accumulate_grad_batches=2, max_steps=1)
    assert results.history["loss"].tolist() == pytest.approx([sum(losses) / 2])


@pytest.mark.parametrize(("accumulated", "rates"), [(1, [0.1, 0.05, 0.025, 0.0125]), (2, [0.1, 0.05])])
def test_the_history_has_the_rate_of_each_update(tmp_path, accumulated, rates):
    results = fit(tmp_path / "fit", decay=0.5, log_every=1, accumulate_grad_batches=accumulated)
    assert results.history["lr"].dropna().tolist() == pytest.approx(rates)


def test_metrics_that_the_module_does_not_log_are_named_once(tmp_path, capsys):
    fit(tmp_path / "fit", metrics={"train_error": "er", "val_error": "val_er"})
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("watch:")]
    assert lines == [
        f"watch: metrics={{{column!r}: {name!r}}}: no {name!r} has been logged so far; "
        "logged: 'err', 'val_err'"
        for column, name in (("val_error", "val_er"), ("train_error", "er"))
    ]
    with pytest.raises(BadInput, match=r"did you mean 'val_error'\?"):
        fit(tmp_path / "other", metrics={"val_err": "val_err"})
    assert not (tmp_path / "other").exists()


def test_a_fit_that_raises_fails_with_its_reason(tmp_path):
    with pytest.raises(RuntimeError, match=r"out of luck"):
        fit(tmp_path / "fit", RuntimeError("out of luck"))
    row = load_results(tmp_path / "fit").runs.iloc[0]
    assert (row["status"], row["reason"], row["step"]) == ("failed", "RuntimeError: out of luck", 2)
