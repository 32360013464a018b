"""OPTIMIZERS: every optimiser, at a glance. No torch here."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, create_model

from depthbench.errors import nearest
from depthbench.registry import Entry
from depthbench.schema import NotNegative, Positive, Section, explain

Decay = Annotated[float, Field(ge=0, lt=1)]
Betas = Annotated[list[Decay], Field(min_length=2, max_length=2)]
Triple = Annotated[list[float], Field(min_length=3, max_length=3)]


@dataclass(frozen=True)
class Optimizer(Entry):
    """An optimiser class with the interface of `torch.optim`.

    It is called with parameter groups (which hold the weight decay), the learning rate and its settings. It
    also gets `fused`, `capturable` and `hidden_weights` if it takes them. `capturable` is needed on CUDA
    unless steps are eager. `hidden_weights` are the weights of all layers but the first and the last."""

    settings: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    """Key of `recipe.optimizer_settings` -> its type and default."""
    recipe_keys: tuple[str, ...] = ()
    """Keys of the recipe that it takes under the same name."""
    state_tensors: int = 0
    """Number of tensors that it keeps for each parameter, of the parameter's shape."""
    extra_state: str | tuple[str, ...] = ()
    """The settings or recipe keys each of which adds one such tensor unless it is zero."""
    is_scale_free: bool | None = None
    """Whether the size of an update does not depend on the size of the gradient. None: unknown."""
    decouples_decay: bool = False
    """Whether the weight decay is decoupled, and not a penalty that is added to the gradient."""
    meanings: Mapping[str, str] = field(default_factory=dict)
    """Key of `settings` -> its meaning. Without one, it means what it does in torch.optim."""

    @cached_property
    def ignored(self) -> tuple[str, ...]:
        """The keys of a recipe that a plug-in's class does not take. Empty if that cannot be known.

        A function can take the weight decay from the parameter groups. The first use imports the class."""
        target = self.load() if self.source else None
        if not isinstance(target, type):
            return ()
        try:
            known = inspect.signature(target).parameters
        except (ValueError, TypeError):  # a class written in C
            return ()
        if any(each.kind is each.VAR_KEYWORD for each in known.values()):
            return ()
        return tuple(key for key in ("weight_decay", "momentum", "nesterov") if key not in known)

    @cached_property
    def _model(self) -> type[Section]:
        """The settings as a model. It is cached, because every recipe needs it and building it takes 1 ms."""
        fields: dict[str, Any] = dict(self.settings)
        return create_model("Settings", __base__=Section, **fields)

    def checked(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return `settings` with the defaults of those that are not set.

        Raises ValueError, in one line, for an unknown setting or an impossible value."""
        for name in settings:
            if name not in self.settings:
                known = nearest(name, self.settings, "settings")
                raise ValueError(f"optimizer_settings.{name}: no such setting; {known}")
        try:
            return self._model(**settings).model_dump()
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0])
            _, default = self.settings[name]
            problem = explain(first, name, default if isinstance(default, list) else None)
            raise ValueError(f"optimizer_settings.{name} = {settings[name]}: {problem}") from None

    def keywords(self, recipe: Any) -> dict[str, Any]:
        """Return its keyword arguments under `recipe`. Lists become tuples, as in torch."""
        chosen = {key: getattr(recipe, key) for key in self.recipe_keys}
        chosen |= self.checked(recipe.optimizer_settings)
        return {key: tuple(value) if isinstance(value, list) else value for key, value in chosen.items()}

    def state_count(self, recipe: Any) -> int:
        """Return the number of state tensors for each parameter."""
        extras = (self.extra_state,) if isinstance(self.extra_state, str) else self.extra_state
        keywords = self.keywords(recipe)
        return self.state_tensors + sum(bool(keywords[key]) for key in extras if key)


_ADAM = {"betas": (Betas, [0.9, 0.999]), "eps": (Positive, 1e-8), "amsgrad": (bool, False)}

OPTIMIZERS: dict[str, Optimizer] = {
    "sgd": Optimizer(
        "torch.optim:SGD",
        "stochastic gradient descent with momentum",
        settings={"dampening": (NotNegative, 0.0)},
        recipe_keys=("momentum", "nesterov"),
        extra_state="momentum",
        is_scale_free=False,
    ),
    "adam": Optimizer(
        "torch.optim:Adam",
        "Adam; weight_decay is an L2 penalty (Kingma and Ba 2015)",
        settings=_ADAM,
        state_tensors=2,
        extra_state="amsgrad",
        is_scale_free=True,
    ),
    "adamw": Optimizer(
        "torch.optim:AdamW",
        "Adam with decoupled weight decay (Loshchilov and Hutter 2019)",
        settings=_ADAM,
        state_tensors=2,
        extra_state="amsgrad",
        is_scale_free=True,
        decouples_decay=True,
    ),
    "rmsprop": Optimizer(
        "torch.optim:RMSprop",
        "RMSprop with momentum; weight_decay is an L2 penalty (Tieleman and Hinton 2012)",
        settings={"alpha": (Decay, 0.99), "eps": (Positive, 1e-8), "centered": (bool, False)},
        recipe_keys=("momentum",),
        state_tensors=1,
        extra_state=("momentum", "centered"),
        is_scale_free=True,
    ),
    "normalised_sgd": Optimizer(
        "depthbench.training.normalised_sgd:NormalisedSGD",
        "SGD with momentum; the gradient of each parameter is divided by its norm (Yu et al. 2017)",
        recipe_keys=("momentum", "nesterov"),
        extra_state="momentum",
        is_scale_free=True,
        decouples_decay=True,  # it is added after the normalisation, so the rate alone multiplies it
    ),
    "muon": Optimizer(
        "depthbench.training.muon:Muon",
        "Muon for weights of hidden layers, AdamW for all else; decoupled weight decay (Jordan et al. 2024)",
        settings={
            "ns_coefficients": (Triple, [3.4445, -4.775, 2.0315]),
            "ns_steps": (Annotated[int, Field(ge=1, lt=100)], 5),
            "eps": (Positive, 1e-7),
            "adjust_lr_fn": (Literal["original", "match_rms_adamw"], "match_rms_adamw"),
            "adamw_betas": (Betas, [0.9, 0.999]),
            "adamw_eps": (Positive, 1e-8),
            "adamw_lr": (Positive, 1.0),
        },
        recipe_keys=("momentum", "nesterov"),
        state_tensors=2,  # of AdamW; Muon keeps one
        is_scale_free=True,
        decouples_decay=True,
        meanings={
            "adamw_betas": "betas of AdamW, which updates what Muon does not.",
            "adamw_eps": "eps of AdamW, which updates what Muon does not.",
            "adamw_lr": "the learning rate of AdamW, which updates what Muon does not, as a factor of lr.",
        },
    ),
}
