"""Contract of every entry of OPTIMIZERS."""

import inspect
import io
import math

import pytest
import torch

from depthbench.networks import NETWORKS
from depthbench.training.building import make_optimizer
from depthbench.training.mode import TrainingMode
from depthbench.training.optimizers import OPTIMIZERS
from depthbench.training.settings import Recipe
from depthbench.training.trainer import Trainer

every_optimizer = pytest.mark.parametrize("name", OPTIMIZERS)


def trainer_of(tiny, digits, name, **recipe):
    recipe = {"steps": 8, "optimizer": name, "lr": 0.002, "weight_decay": 0.01} | recipe
    return Trainer(next(tiny(recipe=recipe).runs()), digits, TrainingMode())


def advanced(trainer, steps):
    for _ in range(steps):
        trainer.advance()
    return trainer


def weights(trainer):
    return torch.cat([parameter.detach().flatten() for parameter in trainer.network.parameters()])


@every_optimizer
def test_it_documents_itself_and_its_defaults_are_those_of_the_class(name):
    entry = OPTIMIZERS[name]
    assert entry.about
    accepted = inspect.signature(entry.load()).parameters
    recipe = Recipe(optimizer=name)
    for key, value in entry.keywords(recipe).items():
        if key in entry.recipe_keys:
            assert key in accepted
        else:
            assert value == accepted[key].default, key


@every_optimizer
@pytest.mark.parametrize("decay_norm", [True, False])
def test_it_updates_all_parameters_and_decays_all_or_weights_only(name, decay_norm):
    network = NETWORKS["resnet"](depth=8, width=4)
    recipe = Recipe(optimizer=name, decay_norm=decay_norm, weight_decay=0.5, steps=1)
    optimizer = make_optimizer(network, recipe)
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert decay.keys() == {id(p) for p in network.parameters()}
    for parameter_name, parameter in network.named_parameters():
        is_weight = "conv" in parameter_name or parameter_name == "fc.weight"
        assert decay[id(parameter)] == (0.5 if is_weight or decay_norm else 0.0), parameter_name


@every_optimizer
def test_it_trains_reproducibly(tiny, digits, name):
    one, other = (advanced(trainer_of(tiny, digits, name), 8) for _ in range(2))
    assert torch.equal(weights(one), weights(other))
    assert math.isfinite(one.log()[-1]["loss"])
    assert not torch.equal(weights(one), weights(trainer_of(tiny, digits, name)))


@every_optimizer
def test_its_state_is_restored_bit_for_bit(tiny, digits, name):
    whole = advanced(trainer_of(tiny, digits, name), 8)
    file = io.BytesIO()
    torch.save(advanced(trainer_of(tiny, digits, name), 3).state(), file)
    file.seek(0)
    resumed = trainer_of(tiny, digits, name)
    resumed.restore(torch.load(file, weights_only=True))
    assert torch.equal(weights(advanced(resumed, 5)), weights(whole))


@every_optimizer
def test_it_counts_its_state_tensors(tiny, digits, name):
    extras = OPTIMIZERS[name].extra_state
    choices = [{}]
    for extra in (extras,) if isinstance(extras, str) else extras:
        is_key = extra in OPTIMIZERS[name].recipe_keys
        choices += [{extra: 0.0} if is_key else {"optimizer_settings": {extra: True}}]
    for recipe in choices:
        trainer = advanced(trainer_of(tiny, digits, name, **recipe), 1)
        kept = []
        for parameter, state in trainer.eager_step.optimizer.state.items():
            tensors = [value for value in state.values() if torch.is_tensor(value) and value.dim()]
            kept.append(sum(value.numel() == parameter.numel() for value in tensors))
        most = OPTIMIZERS[name].state_count(trainer.run.recipe)
        assert max(kept, default=0) == most
        assert name == "muon" or min(kept, default=0) == most  # which leaves some to AdamW


@every_optimizer
def test_the_fused_kernel_equals_the_plain_one(tiny, digits, name):
    fused, plain = (trainer_of(tiny, digits, name) for _ in range(2))
    for group in plain.eager_step.optimizer.param_groups:
        group |= {"foreach": False, "fused": False}
    tolerance = 1e-3 if name == "muon" else 1e-5  # Muon computes its update in bfloat16
    for one, other in zip(weights(advanced(fused, 8)), weights(advanced(plain, 8)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=tolerance)


@every_optimizer
def test_its_settings_are_reachable_and_checked(name):
    entry = OPTIMIZERS[name]
    for key, (_, default) in entry.settings.items():
        recipe = Recipe(optimizer=name, optimizer_settings={key: default})
        assert entry.keywords(recipe) == entry.keywords(Recipe(optimizer=name))
        with pytest.raises(ValueError, match=f"optimizer_settings.{key} = wrong: ") as error:
            Recipe(optimizer=name, optimizer_settings={key: "wrong"})
        assert f"with {name}, optimizer_settings" in str(error.value)
    with pytest.raises(ValueError, match=r"optimizer_settings\.unheard: no such setting"):
        Recipe(optimizer=name, optimizer_settings={"unheard": 1})
