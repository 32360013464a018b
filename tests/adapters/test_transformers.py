"""A real run of a Trainer of Hugging Face, compared with a loop by hand."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import depthbench
from depthbench.probes import PROBES
from depthbench.store.results import load_results

pytest.importorskip("transformers")
pytest.importorskip("accelerate")
pytestmark = pytest.mark.filterwarnings("ignore")  # of other packages, on their own settings

OPTIONS = {"name": "net", "every": 1, "probes": list(PROBES)}


class Model(nn.Module):
    """A model as a Trainer expects it: it returns its loss."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(5, 6), nn.Linear(6, 3)

    def forward(self, x, labels):
        logits = self.last(F.relu(self.first(x)))
        return {"loss": F.cross_entropy(logits, labels), "logits": logits}


def items(count=16):
    generator = torch.Generator().manual_seed(1)
    return [{"x": torch.randn(5, generator=generator), "labels": torch.tensor(i % 3)} for i in range(count)]


def train_by_hand(path, accumulated):
    model, data = Model(), items()
    batches = [data[i : i + 4] for i in range(0, 16, 4)]
    batches = [(torch.stack([d["x"] for d in b]), torch.stack([d["labels"] for d in b])) for b in batches]
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    watch = depthbench.watch(model, path, **OPTIONS)
    for start in range(0, 4, accumulated):
        with watch.step():
            for x, labels in batches[start : start + accumulated]:
                (model(x, labels)["loss"] / accumulated).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.05)
            optimizer.step()
            optimizer.zero_grad()
    watch.close()
    return load_results(path)


def train(path, accumulated=1, error=None, schedule="constant", metric="eval_err"):
    from torch.utils.data import SequentialSampler
    from transformers import Trainer, TrainingArguments

    from depthbench.adapters.transformers import DepthbenchCallback

    class InOrder(Trainer):
        def _get_train_sampler(self, *arguments):
            return SequentialSampler(self.train_dataset)

        def training_step(self, *arguments, **keywords):
            if error is not None and self.state.global_step == 2:
                raise error
            return super().training_step(*arguments, **keywords)

    arguments = TrainingArguments(
        output_dir=str(path / "unused"),
        per_device_train_batch_size=4,
        gradient_accumulation_steps=accumulated,
        max_grad_norm=0.05,
        learning_rate=0.1,
        lr_scheduler_type=schedule,
        optim="sgd",
        num_train_epochs=1,
        logging_steps=1,
        eval_strategy="epoch",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    )
    callback = DepthbenchCallback(path / "results", {"val_error": metric}, **OPTIONS)
    trainer = InOrder(
        Model(),
        arguments,
        train_dataset=items(),
        eval_dataset=items(4),
        compute_metrics=lambda predicted: {"err": 25.0},
        callbacks=[callback],
    )
    with callback:
        trainer.train()
    return load_results(path / "results")


@pytest.mark.parametrize("accumulated", [1, 2])
def test_a_run_has_the_values_of_a_loop_by_hand(tmp_path, accumulated):
    expected = train_by_hand(tmp_path / "hand", accumulated)
    results = train(tmp_path, accumulated)
    for column in ("step", "name", *PROBES):
        assert results.layers[column].equals(expected.layers[column])
    row = results.runs.iloc[0]
    assert (row["status"], row["step"], row["steps"]) == ("done", 4 // accumulated, 4 // accumulated)
    assert row["val_error"] == 25
    assert results.history["loss"].notna().any()
    assert results.history["lr"].dropna().unique().tolist() == [0.1]


def test_the_history_has_the_rate_of_each_update(tmp_path):
    history = train(tmp_path, schedule="linear").history
    assert history["lr"].dropna().tolist() == pytest.approx([0.025])  # the rate of the last update, not 0


def test_metrics_that_the_evaluation_lacks_are_named_once(tmp_path, capsys):
    train(tmp_path, metric="err")
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("watch:")]
    assert line.startswith("watch: metrics={'val_error': 'err'}: no 'err' has been logged so far; logged: ")
    assert "'eval_err', 'eval_loss'" in line


def test_a_run_that_raises_fails_with_its_reason(tmp_path):
    with pytest.raises(RuntimeError, match=r"out of luck"):
        train(tmp_path, error=RuntimeError("out of luck"))
    row = load_results(tmp_path / "results").runs.iloc[0]
    assert (row["status"], row["reason"], row["step"]) == ("failed", "RuntimeError: out of luck", 2)
