"""Study, Run, Recipe: what is to be trained and measured, validated; no torch here.

A study is a grid of runs (networks x depths x seeds) that share data, recipe and probes. It comes
from a TOML file, a bundled name, or flags alone; anything unknown or impossible is a BadInput that
names the key, the value and what is allowed."""

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Annotated, Any

import tomli_w
from pydantic import (
    AfterValidator,
    ValidationError,
    field_serializer,
    model_validator,
)

from depthbench.data import DATASETS
from depthbench.data.settings import NOT_OF_THE_RESULT, Data
from depthbench.errors import BadInput, nearest
from depthbench.networks import NETWORKS, Family
from depthbench.networks.options import NetworkOptions
from depthbench.probes import PROBES
from depthbench.probes.settings import Probe
from depthbench.registry import look_up
from depthbench.schema import Count, Percent, Positive, Section
from depthbench.study.grid import Grids
from depthbench.training.settings import Evaluate, Recipe

FORMAT = 1  # of a results directory; raised when an older reader would misread a newer one
DEFAULT_STUDY = "quick"


def _file_name(value: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", value):
        return value
    raise ValueError("should be 1 to 100 letters, digits, '.', '_' and '-', the first a letter or digit")


class Frontier(Section):
    """A search for the greatest depth at which a network still trains (`depthbench frontier`)."""

    below: Percent = 20.0
    """A run trains if its last train error, in evaluation mode, is below this many percent."""
    deepest: Count = 1000
    """No depth above this is tried."""


class Verdict(Section):
    """How degradation that is present is told from none (analysis/verdict.py)."""

    margin: Positive | None = None
    """The rise in error that matters, in percentage points, to be stated before the runs. Unset: 0.5 for runs
    of 64,000 steps or more, 1 for shorter ones."""


class Shared(Section):
    """What every run of one results directory has in common."""

    data: Data = Data()
    options: NetworkOptions = NetworkOptions()
    recipe: Recipe = Recipe()
    probe: Probe = Probe()
    evaluate: Evaluate = Evaluate()


class Variant(Section):
    """A network of a study's own: one of NETWORKS, with options or a recipe that are not the study's."""

    of: str
    options: NetworkOptions = NetworkOptions()
    recipe: Recipe = Recipe()
    """Only what is set counts; the rest is the study's. All runs of a study have the same number of steps."""

    @field_serializer("options", "recipe")
    def _what_is_set(self, section: Section) -> dict[str, Any]:
        return section.model_dump(mode="json", exclude_unset=True)

    @model_validator(mode="after")
    def _check(self):
        look_up(NETWORKS, "network", self.of)
        for key in ("steps", "epochs"):
            if key in self.recipe.model_fields_set:
                raise ValueError(f"recipe.{key} is one for all runs of a study: set it in [recipe]")
        return self


class Run(Shared):
    """One network at one depth with one seed, trained once on one data set by one recipe."""

    network: str
    of: str | None = None
    """The network that it is a variant of, if it is one."""
    depth: int
    seed: int
    plugin: str = ""
    """sha256 of the plug-in files that its network, data set or probes come from."""

    @property
    def family(self) -> str:
        """The name in NETWORKS."""
        return self.of or self.network

    @property
    def run_id(self) -> str:
        """Readable and stable: network-depth-seed-hash of everything that affects the result.

        Where a folder of images lies does not affect it (its content is hashed when it is read),
        nor does the device."""
        content = self.model_dump(mode="json", exclude_defaults=True)
        data = content.pop("data", {})
        if data := {key: value for key, value in data.items() if key not in NOT_OF_THE_RESULT}:
            content["data"] = data
        content["format"] = FORMAT
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:6]
        return f"{self.network}-{self.depth}-s{self.seed}-{digest}"

    @property
    def steps(self) -> int:
        if self.recipe.steps is None:
            raise ValueError("the number of steps is known once the data is: see Study.resolve")
        return self.recipe.steps

    def is_probed(self, step: int) -> bool:
        """Whether layers are measured at `step` (0 <= step < steps)."""
        if not self.probe.names:
            return False
        if self.probe.every is not None and step % self.probe.every == 0:
            return True
        if self.probe.steps is not None:
            return step in self.probe.steps
        return step in (0, self.steps - 1) or str(step).rstrip("0") in ("1", "2", "5")


class Study(Grids, Shared):
    """A grid of runs and what to measure in them."""

    name: Annotated[str, AfterValidator(_file_name)] = DEFAULT_STUDY
    variants: dict[Annotated[str, AfterValidator(_file_name)], Variant] = {}
    """Name -> a network that the grid may name beside those of NETWORKS."""
    frontier: Frontier | None = None
    """The search that chose the grid, where one did."""
    verdict: Verdict = Verdict()
    may_diverge: list[str] = []
    """Networks whose divergence is an expected result, not a failure of the study."""
    plugins: list[str] = []
    """Python files with more NETWORKS, DATASETS and PROBES."""
    keep_checkpoints: bool = False
    """Keep the last state of finished runs too, trained weights included."""

    @model_validator(mode="after")
    def _check_networks(self):
        for name in self.variants:
            if name in NETWORKS:
                raise ValueError(f"variants.{name}: a network is called so already; use another name")
        for grid in (self.grid, *self.also):
            for name in grid.network:
                family = self.checked(name)
                for depth in grid.depth:
                    try:
                        family.depths.n(depth)
                    except BadInput as error:
                        raise BadInput(f"grid: {name}: {error}") from None
        for name in self.may_diverge:
            self.family(name)
        return self

    def checked(self, network: str) -> Family:
        """The family of a network of the grid. Raises BadInput where there is none, or it has not the
        options, or the study not the images, that it is to have."""
        try:
            family = self.family(network)
        except BadInput as error:
            raise BadInput(f"grid: {error}") from None
        chosen = self.options_of(network).model_dump(exclude_defaults=True)
        if unknown := sorted(set(chosen) - set(family.takes or chosen)):
            raise BadInput(f"options.{unknown[0]}: {network} has no such option")
        self._check_views(self.recipe_of(network))
        return family

    def _check_views(self, recipe: Recipe) -> None:
        """Raise BadInput where more is to be seen of an image than what was kept of it."""
        for is_set, key in (
            (recipe.augmentation == "scale", 'recipe.augmentation = "scale"'),
            (self.evaluate.ten_crop, "evaluate.ten_crop = true"),
        ):
            if is_set and self.data.decode != "as_read":
                raise BadInput(f'{key} needs data.decode = "as_read", of a folder of images')

    def family(self, network: str) -> Family:
        """What a name of the grid stands for in NETWORKS. Raises BadInput."""
        if network in self.variants:
            return NETWORKS[self.variants[network].of]
        if network not in NETWORKS:
            known = nearest(network, [*self.variants, *NETWORKS])
            raise BadInput(f"no network is called {network!r}: {known}")
        return NETWORKS[network]

    def options_of(self, network: str) -> NetworkOptions:
        """The options of a network of the grid."""
        return self._of(network, "options")

    def recipe_of(self, network: str) -> Recipe:
        """The recipe of a network of the grid."""
        return self._of(network, "recipe")

    def _of(self, network: str, section: str) -> Any:
        shared = getattr(self, section)
        if network not in self.variants:
            return shared
        own = getattr(self.variants[network], section).model_dump(exclude_unset=True)
        try:
            return type(shared)(**shared.model_dump() | own)
        except ValidationError as error:
            told = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise BadInput(f"variants.{network}.{section}: {told}") from None

    def resolve(self, train_size: int, flips: bool, other_size: int = 0) -> "Study":
        """The study with all that depends on the data settled: length in steps, flips, and, where they are
        not set, how often and on how many images errors are taken.

        train_size, other_size: images to train on, and to test and validate on. flips: whether a mirrored
        image keeps its class."""
        recipe = self.recipe.model_dump()
        if recipe["epochs"] is not None:
            recipe["steps"] = max(1, round(recipe["epochs"] * train_size / recipe["batch_size"]))
            recipe["epochs"] = None
        steps = recipe["steps"] = recipe["steps"] or 64_000
        recipe["flip"] = flips if recipe["flip"] is None else recipe["flip"]
        late = [step for step in self.probe.steps or [] if step >= steps]
        if late:
            raise BadInput(f"probe.steps = {late[0]}: a run has {steps} steps, 0 to {steps - 1}")
        evaluate = self.evaluate.model_dump()
        trained_on = steps * recipe["batch_size"]
        part = max(5000, trained_on // 5)  # a short run on many images is not to be mostly evaluation
        if evaluate["train_size"] is not None and evaluate["train_size"] >= train_size:
            evaluate["train_size"] = None
        elif evaluate["train_size"] is None and part < 0.9 * train_size:
            evaluate["train_size"] = part
        if evaluate["every"] is None:
            seen = (evaluate["train_size"] or train_size) + other_size
            evaluate["every"] = max(1, steps // min(20, max(5, trained_on // seen)))
        if evaluate["log_every"] is None:
            evaluate["log_every"] = min(max(10, steps // 500), steps)
        resolved = self.model_copy(update={"recipe": Recipe(**recipe), "evaluate": Evaluate(**evaluate)})
        for network in self.networks():
            own = resolved.recipe_of(network)
            if own.warmup == "linear" and own.warmup_steps > steps:
                raise BadInput(f"recipe.warmup_steps = {own.warmup_steps:g}: a run has {steps} steps")
        return resolved

    def runs(self) -> Iterator[Run]:
        """Every run once, grid by grid, by depth, then network, then seed."""
        for depth, network, seed in dict.fromkeys(self._cells()):
            shared = {name: getattr(self, name) for name in Shared.model_fields}
            shared |= {"options": self.options_of(network), "recipe": self.recipe_of(network)}
            variant = self.variants.get(network)
            yield Run(
                network=network,
                of=variant and variant.of,
                depth=depth,
                seed=seed,
                plugin=self._plugin_of(network),
                **shared,
            )

    def networks(self) -> list[str]:
        """Every network of the grid once."""
        return list(dict.fromkeys(network for _, network, _ in self._cells()))

    def _cells(self) -> Iterator[tuple[int, str, int]]:
        return (cell for grid in (self.grid, *self.also) for cell in grid.cells())

    def _plugin_of(self, network: str) -> str:
        """The sha256 of the plug-in files behind a run of `network`; empty where all is ours."""
        entries = [self.family(network), *(PROBES[name] for name in self.probe.names)]
        if self.data.path is None:
            entries.append(DATASETS[self.data.name])
        return "+".join(sorted({entry.source for entry in entries} - {""}))

    def to_toml(self) -> str:
        """The whole study, defaults included, as a study file."""
        return tomli_w.dumps({"format": FORMAT, **self.model_dump(mode="json", exclude_none=True)})
