"""Study and Run: what to train and measure, validated. No torch here.

A study is a grid of runs (networks x depths x seeds) that share data, recipe and probes. It comes from a TOML
file, a bundled name, or options alone. Anything unknown or impossible raises a BadInput that names the key,
the value and what is allowed."""

import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Self

import tomli_w
from pydantic import (
    AfterValidator,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_serializer,
    model_serializer,
    model_validator,
)

from depthbench.data import DATASETS
from depthbench.data.settings import NOT_IN_RUN_ID, Data, Normalisation
from depthbench.errors import BadInput, nearest
from depthbench.networks import NETWORKS, Family
from depthbench.networks.families.cifar import HE2015_CIFAR_STEPS
from depthbench.networks.options import NetworkOptions
from depthbench.paths import problem_of_name
from depthbench.probes import PROBES
from depthbench.probes.settings import Probe
from depthbench.registry import Entry, look_up
from depthbench.schema import Count, Percent, Positive, Section, explain
from depthbench.study.grid import Grids
from depthbench.training.optimizers import OPTIMIZERS
from depthbench.training.settings import Evaluate, Recipe

FORMAT = 1  # of results directories; increased when an older version would misread newer results
DEFAULT_STUDY = "quick"
MOST_EVALUATIONS = 20  # of a run, by default
FEWEST_EVALUATED = 2000  # training images of an evaluation, by default


def file_name(value: str, others: str = "") -> str:
    """Return the name of a study. Raises ValueError with the end of a message about it.

    others: characters that it may contain besides letters, digits, '.', '_' and '-'."""
    if re.fullmatch(rf"[A-Za-z0-9][A-Za-z0-9._{others}-]{{0,99}}", value):
        if (problem := problem_of_name(value)) is not None:
            raise ValueError(f"{problem}; use another name")
        return value
    raise ValueError("should be 1 to 100 letters, digits, '.', '_' and '-', the first a letter or digit")


def variant_name(value: str) -> str:
    """Return the name of a variant, which may contain "=" (`study.sweep.name_at`). Raises ValueError."""
    return file_name(value, others="=")


class Frontier(Section):
    """A search for the deepest depth at which a network trains (`depthbench frontier`)."""

    below: Percent = 20.0
    """A run trains if its last train error (percent), in evaluation mode, is below this."""
    deepest: Count = 1000
    """The maximum depth to try."""


class Verdict(Section):
    """The settings of the verdict on degradation (analysis/verdict.py)."""

    margin: Positive | None = None
    """The smallest rise in error that matters, in percentage points, stated before the runs. Unset: 0.5 for
    runs of 64,000 steps (HE2015_CIFAR_STEPS) or more, 1 for shorter ones."""
    reach: Percent | None = None
    """The report shows how many steps each run takes to reach this train error, in percent. Unset: 10."""


def _choose_evaluations(
    evaluate: dict[str, Any], recipe: Mapping[str, Any], train_size: int, other_size: int
) -> None:
    """Fill in how often and on how many training images a run of `recipe` is evaluated, where unset.

    All evaluations together take at most half as many images as the run trains on. The forward pass is a
    third of the work of a training step, so they take at most 15 % of the time. The last step is always
    evaluated, on all test images, even if that takes longer."""
    trained_on = recipe["steps"] * recipe["batch_size"]
    part = max(FEWEST_EVALUATED, trained_on // 10 - other_size)  # at least five evaluations, if they fit
    if evaluate["train_size"] is None and part < 0.9 * train_size:
        evaluate["train_size"] = part
    elif evaluate["train_size"] is not None and evaluate["train_size"] >= train_size:
        evaluate["train_size"] = None
    if evaluate["every"] is None:
        images = (evaluate["train_size"] or train_size) + other_size
        count = min(MOST_EVALUATIONS, max(1, trained_on // 2 // images))
        evaluate["every"] = math.ceil(recipe["steps"] / count)


def _resolved(key: str, value: int | None) -> int:
    """Return a value that Study.resolve sets. Raises ValueError if it is not set yet."""
    if value is None:
        raise ValueError(f"{key} depends on the data: call Study.resolve first")
    return value


class Shared(Section):
    """The settings that all runs of one results directory share."""

    data: Data = Data()
    options: NetworkOptions = NetworkOptions()
    recipe: Recipe = Recipe()
    probe: Probe = Probe()
    evaluate: Evaluate = Evaluate()

    @property
    def steps(self) -> int:
        """The number of updates."""
        return _resolved("recipe.steps", self.recipe.steps)

    @property
    def evaluate_every(self) -> int:
        """The number of steps between evaluations."""
        return _resolved("evaluate.every", self.evaluate.every)

    @property
    def log_every(self) -> int:
        """The number of steps between logged rows."""
        return _resolved("evaluate.log_every", self.evaluate.log_every)


def _check_known(options: NetworkOptions, families: Iterable[Family]) -> None:
    """Raise ValueError if `options` has a key that is neither ours nor one of a builder of `families`."""
    if not options.own:
        return
    families = list(families)
    own = {name for family in families for name in family.own.known}
    for name in sorted(options.own.keys() - own):
        known = nearest(name, own.union(*(family.taken for family in families)), "keys of options")
        raise ValueError(f"unknown key 'options.{name}'; {known}")


class Swept(Section):
    """What a variant of a sweep was made of."""

    network: str
    """A network or another variant."""
    values: dict[str, bool | int | float | str]
    """Key with its section -> value, e.g. {"recipe.lr": 0.1}."""


class VariantData(Section):
    """The keys of `[data]` in which a variant can differ from its study. They change no image."""

    normalisation: Normalisation = "channel"


class Variant(Section):
    """A network that a study defines: one of NETWORKS with other options, recipe, normalisation or length."""

    of: str
    options: NetworkOptions = NetworkOptions()
    recipe: Recipe = Recipe()
    """Keys that are set replace those of the study. `budget` sets the number of steps."""
    data: VariantData = VariantData()
    """Keys that are set replace those of the study."""
    budget: Positive | None = None
    """The length of a run as a multiple of the study's. Fractions of all steps, such as milestones below 1,
    scale with it. Unset: 1."""
    baseline: str | None = None
    """The network with which the report compares this one. It should differ in one respect."""
    swept: Swept | None = None
    """For a variant that a sweep made. `[sweep]` sets it."""

    @model_serializer(mode="wrap")
    def _without_unset(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values = {key: value for key, value in dump(self).items() if value is not None}
        return values if values["data"] else {key: values[key] for key in values if key != "data"}

    @field_serializer("options", "recipe", "data")
    def _set_keys(self, section: Section) -> dict[str, Any]:
        return section.model_dump(mode="json", exclude_unset=True)

    @model_validator(mode="after")
    def _check(self) -> Self:
        family = look_up(NETWORKS, "network", self.of)
        _check_known(self.options, [family])
        for key in ("steps", "epochs"):
            if key in self.recipe.model_fields_set:
                raise ValueError(
                    f"recipe.{key} must be the same for all runs: set it in [recipe], or set budget, a "
                    "multiple of it"
                )
        return self


def _code_of(family: str, shared: Shared, recipe: Recipe) -> dict[str, Entry]:
    """Return the network, optimiser, probes and data set of a run, whose code affects its results.

    The keys say what an entry is, e.g. "probe weight_norm". family: the name in NETWORKS. Raises BadInput for
    an unknown name."""
    named: list[tuple[str, Mapping[str, Entry], str]] = [
        ("network", NETWORKS, family),
        ("optimizer", OPTIMIZERS, recipe.optimizer),
        *(("probe", PROBES, name) for name in shared.probe.names),
    ]
    if shared.data.path is None:
        named.append(("data set", DATASETS, shared.data.name))
    return {f"{noun} {name}": look_up(entries, noun, name) for noun, entries, name in named}


def _hash_of(code: Iterable[Entry]) -> str:
    """Return the SHA-256 of the plug-in files of entries, or "" if they are all built in."""
    return "+".join(sorted({entry.source for entry in code} - {""}))


class Run(Shared):
    """One network at one depth with one seed, trained once on one data set by one recipe."""

    network: str
    of: str | None = None
    """For a variant, its name in NETWORKS."""
    depth: int
    seed: int
    plugin: str = ""
    """SHA-256 of the plug-ins and packages that define its network, optimiser, data set or probes."""

    @property
    def family(self) -> str:
        """The name in NETWORKS."""
        return self.of or self.network

    @property
    def run_id(self) -> str:
        """A readable and stable name: network-depth-seed-hash of everything that affects the result.

        The device does not affect it, and neither does the path of an image folder, whose content is hashed
        when it is read."""
        content = self.model_dump(mode="json", exclude_defaults=True)
        data = content.pop("data", {})
        if data := {key: value for key, value in data.items() if key not in NOT_IN_RUN_ID}:
            content["data"] = data
        content["format"] = FORMAT
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:6]
        return f"{self.network}-{self.depth}-s{self.seed}-{digest}"

    def check_code(self) -> None:
        """Raise BadInput unless the code that this process has loaded is that with which the run was planned.

        It is the code of its network, optimiser, data set and probes."""
        if _hash_of(_code_of(self.family, self, self.recipe).values()) != self.plugin:
            names = " and ".join(self.other_code(self.plugin)) or "a plug-in"
            raise BadInput(f"{names} was edited after the study was planned: rerun the command")

    def other_code(self, plugin: str) -> list[str]:
        """Return the plug-ins and packages that this run uses and a run with the hash `plugin` did not use.

        Each comes with what this run uses of it, e.g. "my_probe.py (probe rms)"."""
        used: dict[str, list[str]] = {}
        for what, entry in _code_of(self.family, self, self.recipe).items():
            if entry.source and entry.source not in plugin.split("+"):
                used.setdefault(entry.origin, []).append(what)
        return [f"{origin} ({', '.join(what)})" for origin, what in used.items()]

    def is_probed(self, step: int) -> bool:
        """Return whether layers are measured at `step` (0 <= step < steps)."""
        return self.probe.is_due(step, self.steps - 1)


class Study(Grids, Shared):
    """A grid of runs and what to measure in them."""

    name: Annotated[str, AfterValidator(file_name)] = DEFAULT_STUDY
    """The name of the results directory. Unset in a file: the name of the file."""
    variants: dict[Annotated[str, AfterValidator(variant_name)], Variant] = {}
    """Networks that the grid can name in addition to NETWORKS."""
    sweep: Annotated[dict[str, list[Any]], Field(exclude=True)] = {}
    """Keys of the recipe or the options, each with a list of values, e.g. lr = [0.01, 0.1]. Each network of
    the grids is trained with every combination of the values, as the variants NETWORK-KEY=VALUE."""
    frontier: Frontier | None = None
    """The search that chose the grid, if any."""
    verdict: Verdict = Verdict()
    may_diverge: list[str] = []
    """Networks whose divergence is an expected result and not a failure of the study."""
    plugins: list[str] = []
    """Plug-ins: Python files with more NETWORKS, DATASETS, PROBES, OPTIMIZERS, FIGURES and TABLES."""
    keep_checkpoints: bool = False
    """Whether to keep the last state of finished runs, which includes the trained weights."""

    @model_validator(mode="after")
    def _check_networks(self) -> Self:
        for name in self.variants:
            if name in NETWORKS:
                raise ValueError(f"variants.{name}: a bundled network has this name; use another one")
        _check_known(self.options, (self.family(name) for name in self.networks()))
        for grid in self.all_grids:
            for name in grid.network:
                family = self.checked(name)
                for depth in grid.depth:
                    try:
                        family.depths.n(depth)
                    except BadInput as error:
                        raise BadInput(f"{name}: {error}") from None
        for name, variant in self.variants.items():
            if variant.baseline == name:
                raise BadInput(f"variants.{name}.baseline is the variant itself: name another network")
            if self.data.is_sequences and variant.data.model_fields_set:
                raise BadInput(f"variants.{name}.data: normalisation is only for images: leave it out")
        baselines = {
            f"variants.{name}.baseline": variant.baseline
            for name, variant in self.variants.items()
            if variant.baseline is not None
        }
        for place, name in (*(("may_diverge", name) for name in self.may_diverge), *baselines.items()):
            try:
                self.family(name)
            except BadInput as error:
                raise BadInput(f"{place}: {error}") from None
        return self

    def checked(self, network: str) -> Family:
        """Return the family of a network in the grid.

        Raises BadInput if the network is unknown, if it lacks an option that is set, or if the study's images
        do not suit its recipe."""
        family = self.family(network)
        options = self.options_of(network)
        given = options.model_dump(exclude_defaults=True)
        chosen = {key for key, value in given.items() if family.fixed.get(key) != value} - set(options.own)
        if unknown := sorted(chosen - set(family.takes or chosen)):
            known = nearest(unknown[0], family.takes or (), f"options of {network}")
            raise BadInput(f"options.{unknown[0]}: {network} has no such option; {known}")
        self._check_views(self.recipe_of(network))
        return family

    def _check_views(self, recipe: Recipe) -> None:
        """Raise BadInput if training or evaluation needs images, or whole images, and the data have none."""
        if self.data.is_sequences and self.evaluate.robustness:
            raise BadInput(f"evaluate.robustness corrupts images, and {self.data.name} has none: remove it")
        for is_set, key in (
            (recipe.augmentation == "scale", 'recipe.augmentation = "scale"'),
            (self.evaluate.ten_crop, "evaluate.ten_crop = true"),
        ):
            if is_set and self.data.decode != "as_read":
                raise BadInput(f"{key} needs a folder of images: add --data FOLDER --set data.decode=as_read")

    def family(self, network: str) -> Family:
        """Return the entry of NETWORKS for a network in the grid. Raises BadInput for an unknown network."""
        if network in self.variants:
            return look_up(NETWORKS, "network", self.variants[network].of)
        if network not in NETWORKS:
            known = nearest(network, [*self.variants, *NETWORKS], "networks")
            raise BadInput(f"no network is called {network!r}; {known}")
        return NETWORKS[network].resolved()

    def options_of(self, network: str) -> NetworkOptions:
        """Return the options of a network in the grid.

        Its builder's own options are included if they differ from their defaults. Raises BadInput for own
        options that the builder does not declare, and for wrong values."""
        options: NetworkOptions = self._section_of(network, "options")
        if not options.own:
            return options
        return options.with_own(self.family(network).check_own(options.own, network))

    def _options(self) -> NetworkOptions:
        """Return the shared options. Leaves out own options that have their default in all networks."""
        if not self.options.own:
            return self.options
        own: dict[str, Any] = {}
        for network in self.networks():
            own |= self.family(network).check_own(self.options.own, network)
        return self.options.with_own(own)

    def recipe_of(self, network: str) -> Recipe:
        """Return the recipe of a network in the grid.

        Values that its optimiser does not take are 0. Raises BadInput for those that were set."""
        recipe: Recipe = self._section_of(network, "recipe")
        variant = self.variants.get(network)
        if variant is not None and variant.budget is not None:
            recipe = recipe.extended(variant.budget)
        return self._for_data(recipe.without_ignored(network))

    def _for_data(self, recipe: Recipe) -> Recipe:
        """Return the recipe, without augmentation if the data are sequences.

        Raises BadInput for augmentation that is off by default and was set."""
        return recipe.without_augmentation(self.data.name) if self.data.is_sequences else recipe

    def lengths(self) -> tuple[int, int]:
        """Return the fewest and the most steps of a run, which differ if networks have budgets."""
        steps = [_resolved("recipe.steps", self.recipe_of(network).steps) for network in self.networks()]
        return min(steps), max(steps)

    def data_of(self, network: str) -> Data:
        """Return the section `[data]` for a network in the grid."""
        variant = self.variants.get(network)
        own = {} if variant is None else variant.data.model_dump(exclude_unset=True)
        return self.data.model_copy(update=own)

    def swept_values(self, network: str) -> dict[str, Any]:
        """Return the values of a network that a sweep made, by key, e.g. {"recipe.lr": 0.1}."""
        variant = self.variants.get(network)
        return {} if variant is None or variant.swept is None else variant.swept.values

    def _section_of(self, network: str, section: str) -> Any:
        shared = getattr(self, section)
        if network not in self.variants:
            return shared
        own = getattr(self.variants[network], section).model_dump(exclude_unset=True)
        try:
            return type(shared)(**shared.model_dump() | own)
        except ValidationError as error:
            problem = explain(error.errors()[0], section)
            raise BadInput(f"variants.{network}.{section}: {problem}") from None

    def resolve(self, train_size: int, flips: bool, other_size: int = 0) -> "Study":
        """Return the study with the values that depend on the data.

        These are the number of steps, flips, the intervals of evaluations and logged rows, and the number of
        training images to evaluate on. Values that are set are kept. train_size: number of training images.
        other_size: number of test and validation images. flips: whether a mirrored image keeps its class.
        Raises BadInput for a probed step or a warm-up beyond the end of a run."""
        recipe = self._for_data(self.recipe).model_dump()
        if recipe["epochs"] is not None:
            recipe["steps"] = max(1, round(recipe["epochs"] * train_size / recipe["batch_size"]))
            recipe["epochs"] = None
        steps = recipe["steps"] = recipe["steps"] or HE2015_CIFAR_STEPS
        recipe["flip"] = flips if recipe["flip"] is None else recipe["flip"]
        evaluate = self.evaluate.model_dump()
        _choose_evaluations(evaluate, recipe, train_size, other_size)
        if evaluate["log_every"] is None:
            evaluate["log_every"] = min(max(10, steps // 500), steps)
        changed = {"recipe": Recipe(**recipe), "evaluate": Evaluate(**evaluate), "options": self._options()}
        resolved = self.model_copy(update=changed)
        for recipe_of_network in map(resolved.recipe_of, self.networks()):
            resolved._check_length(recipe_of_network)
        return resolved

    def _check_length(self, recipe: Recipe) -> None:
        """Raise BadInput if a run of `recipe` ends before a probed step or before its warm-up does."""
        steps = _resolved("recipe.steps", recipe.steps)
        late = [step for step in self.probe.steps or [] if step >= steps]
        if late:
            raise BadInput(
                f"probe.steps contains {late[0]}, but the steps of a run are 0 to {steps - 1}: remove it"
            )
        if recipe.warmup == "linear" and recipe.warmup_steps > steps:
            raise BadInput(
                f"recipe.warmup_steps = {recipe.warmup_steps:g} is longer than a run of {steps} steps: use "
                "fewer, or a fraction below 1"
            )

    def runs(self) -> Iterator[Run]:
        """Iterate over the runs, grid by grid, sorted as the grid lists depths, networks and seeds."""
        settings = {network: self._settings_of(network) for network in self.networks()}
        for depth, network, seed in dict.fromkeys(self._cells()):
            yield Run(network=network, depth=depth, seed=seed, **settings[network])

    def _settings_of(self, network: str) -> dict[str, Any]:
        """Return what all runs of a network share."""
        variant = self.variants.get(network)
        return {name: getattr(self, name) for name in Shared.model_fields} | {
            "data": self.data_of(network),
            "options": self.options_of(network),
            "recipe": self.recipe_of(network),
            "of": variant.of if variant is not None else None,
            "plugin": self._plugin_of(network),
        }

    def networks(self) -> list[str]:
        """Return the networks of all grids."""
        return list(dict.fromkeys(network for grid in self.all_grids for network in grid.network))

    def _cells(self) -> Iterator[tuple[int, str, int]]:
        return (cell for grid in self.all_grids for cell in grid.cells())

    def _plugin_of(self, network: str) -> str:
        """Return the SHA-256 of the plug-in files that a run of `network` uses, or "" if it uses none."""
        variant = self.variants.get(network)
        family = variant.of if variant is not None else network
        return _hash_of(_code_of(family, self, self.recipe_of(network)).values())

    def to_toml(self) -> str:
        """Return the study as a study file, with all defaults written out."""
        return tomli_w.dumps({"format": FORMAT, **self.model_dump(mode="json", exclude_none=True)})
