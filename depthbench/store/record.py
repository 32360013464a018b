"""The typed record of one run: what run.json holds."""

import json
import math
from collections.abc import Mapping
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, Self, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from depthbench.schema import Section
from depthbench.study.model import FORMAT, Run, Shared
from depthbench.study.watched import WatchedNetwork, WatchedRun

Whole = Annotated[int, Field(ge=0, lt=2**63)]


def _check_amount(value: float) -> float:
    if abs(value) > 1e15:  # damage, which no axis of a figure can show
        raise ValueError("should be at most 1e15")
    return value


Amount = Annotated[float, AfterValidator(_check_amount)]
Measured = Annotated[Amount, Field(allow_inf_nan=False)]

Status = Literal["done", "diverged", "failed", "interrupted"]
FINISHED: tuple[Status, ...] = ("done", "diverged")  # the statuses of runs that are never trained again
REQUIRED_TABLES = ("history", "layers")  # the tables that every finished run has


class Part(BaseModel):
    """An object in run.json. A key that the file lacks has its default here, which usually is None.

    Reading and rewriting preserves unknown keys, and the difference between a missing key and null."""

    model_config = ConfigDict(extra="allow", frozen=True)

    def changed(self, **changes: Any) -> Self:
        """Return a copy with other values for some keys.

        Raises TypeError for a key that this version does not know, and ValueError for a value of the wrong
        type."""
        unknown = changes.keys() - type(self).model_fields.keys()
        if unknown:
            raise TypeError(f"{type(self).__name__} has no {', '.join(sorted(unknown))}")
        return self.model_validate(self.to_dict() | changes)

    def to_dict(self) -> dict[str, Any]:
        """Return the keys that are set, in the order of run.json."""
        return self.model_dump(exclude_unset=True)


class Hashes(Part):
    """SHA-256 digests. Runs with equal hashes started from equal weights and saw equal batches."""

    initial_weights: str | None = None
    data: str | None = None
    batches: str | None = None
    """Over all batches up to the last step."""


class Environment(Part):
    """The environment of a run: versions, device and commit."""

    python: str | None = None
    depthbench: str | None = None
    torch: str | None = None
    torchvision: str | None = None
    numpy: str | None = None
    platform: str | None = None
    device: str | None = None
    threads: Whole | None = None
    commit: str | None = None


class Final(Part):
    """The final errors of a run, in percent, and the steps of the best and the selected ones.

    The numbers of the final evaluations follow as further keys (training/final_evaluations)."""

    train_error: Amount | None = None
    train_error_eval: Amount | None = None
    test_error: Amount | None = None
    val_error: Amount | None = None
    best_test_error: Amount | None = None
    best_step: Whole | None = None
    val_selected_test_error: Amount | None = None
    val_selected_step: Whole | None = None
    train_loss_eval: Amount | None = None
    """In nats per token, in evaluation mode. Only runs that predict the next token have losses."""
    test_loss: Amount | None = None
    val_loss: Amount | None = None

    @property
    def chosen_step(self) -> int | None:
        """The step of the best evaluation, on the validation set or, without one, on the test set."""
        return self.best_step if self.val_selected_step is None else self.val_selected_step

    @model_validator(mode="after")
    def _check_evaluations(self) -> Self:
        for value in (self.model_extra or {}).values():
            if isinstance(value, int | float):
                _check_amount(value)
        return self


class HowExecuted(Part):
    """The execution of a run."""

    step: str | None = None
    """eager, captured or compiled."""
    recompute: bool | None = None
    images: str | None = None
    """Number, size and location of the images."""
    loop: str | None = None
    """"watch": depthbench.watch recorded the run in a user's training loop. None: depthbench trained it."""
    processes: Whole | None = None
    """The processes that trained the run together, if there were several (torchrun)."""
    sync_batch_norm: bool | None = None
    """Whether they normalised over whole batches. None for one process."""
    probes: dict[str, str] | None = None
    """Probe -> what it measures, for probes that are not in the default. None: only default probes."""
    not_measured: dict[str, str] | None = None
    """Layers with a value that probes did not measure, and parameters outside of layers, with the reasons.
    None: everything was measured."""


class ScaledBranches(Part):
    """The scale of residual branches with the depth (options.depth_alpha), and the factors of settings of the
    recipe for the parameters in them (training/depth_rules.py)."""

    alpha: Amount | None = None
    blocks: Whole | None = None
    base_blocks: Whole | None = None
    branch: Amount | None = None
    """The factor of each branch."""
    lr: Amount | None = None
    weight_decay: Amount | None = None
    eps: Amount | None = None
    l1: Amount | None = None


class Timing(Part):
    """Durations in seconds, throughput and memory."""

    seconds: Measured | None = None
    evaluating_seconds: Measured | None = None
    images_per_second: Measured | None = None
    """During training, evaluation excluded."""
    peak_memory: Whole | None = None
    """Bytes."""
    peak_memory_of: str | None = None
    """process or device."""


class Table(Part):
    """What a record says about the file of a table."""

    rows: Whole
    sha256: str
    """SHA-256 of the file."""


class WeightsFile(Part):
    """What a record says about a file of weights."""

    step: Whole
    """Updates after which the network had these weights."""
    sha256: str
    """SHA-256 of the file."""


def _types_of(annotation: Any) -> tuple[type, ...]:
    """Return the types that the values of a field have in JSON. A choice of words has the type str."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _types_of(inner[0])
    if origin is Literal:
        return tuple({type(value) for value in inner})
    if origin in (Union, UnionType):
        return tuple({kind for each in inner for kind in _types_of(each)})
    kind = origin or annotation
    if issubclass(kind, Section):
        return (dict,)
    if issubclass(kind, tuple):
        return (list,)
    return (int, float) if kind is float else (kind,)


@cache
def _setting_types() -> Mapping[str, Mapping[str, tuple[type, ...]]]:
    """Return the types of the settings of a run: section -> key -> types. Section "" is the run itself."""
    sections = {"": Run, "watched": WatchedNetwork} | {
        name: field.annotation for name, field in Shared.model_fields.items()
    }
    return {
        name: {key: _types_of(field.annotation) for key, field in section.model_fields.items()}  # type: ignore[union-attr]
        for name, section in sections.items()
    }


def _check_settings(run: dict[str, Any]) -> dict[str, Any]:
    """Raise ValueError if a setting of a run has the wrong type. Keys and choices may be unknown.

    The analyses depend on the types. Also raises ValueError for numbers that no setting can have."""
    if _is_absurd(run):
        raise ValueError("a number is not finite, or too large")
    for name, types in _setting_types().items():
        section = run.get(name, {}) if name else run
        if not isinstance(section, dict):
            raise ValueError(f"{name} is {section!r}")
        for key, kinds in types.items():
            value = section.get(key)
            if key in section and not _is_one_of(value, kinds):
                raise ValueError(f"{name}.{key} is {value!r}")
    return run


def _is_one_of(value: Any, kinds: tuple[type, ...]) -> bool:
    """Return whether a JSON value has one of these types. Lists must be flat."""
    if isinstance(value, list):
        return list in kinds and not any(isinstance(each, list | dict) for each in value)
    return type(value) in kinds


def is_damaged_format(version: Any) -> bool:
    """Return whether the results format in a run.json is a number that no version of depthbench can have."""
    return isinstance(version, int | float) and not 0 <= version < 1e6


def _is_absurd(value: Any) -> bool:
    """Return whether a JSON value is or has a number that no setting can have, which only damage explains."""
    if isinstance(value, dict | list):
        return any(map(_is_absurd, value.values() if isinstance(value, dict) else value))
    if isinstance(value, float):
        return not math.isfinite(value)
    return isinstance(value, int) and abs(value) >= 2**63


class Record(Part):
    """The content of run.json. Its keys have the order of these fields."""

    format: int
    run_id: str
    network: str
    depth: Whole
    seed: Whole
    status: Status
    run: Annotated[dict[str, Any], AfterValidator(_check_settings)]
    """The settings of the run, as they were stored."""
    steps: Whole | None = None
    """Updates that the recipe requests."""
    num_classes: Whole | None = None
    classes: tuple[str, ...] | None = None
    image_shape: tuple[Whole, ...] | None = None
    """(C, H, W) of images, (T,) of sequences."""
    val_images: Whole | None = None
    """Number of validation images."""
    chance_error: Amount | None = None
    """Percent."""
    predicts: str | None = None
    """What errors are percentages of: `next characters` or `next bytes`. None: the classes of inputs."""
    parameters: Whole | None = None
    multiply_adds: Whole | None = None
    """Per image or sequence, in the forward pass."""
    weighted_layers: Whole | None = None
    layer_order: str | None = None
    """How layers are numbered: as "named" by the network, or in the order of "use". None: by an older
    version, which knew less of their use."""
    skipped_images: Whole | None = None
    scaled_branches: ScaledBranches | None = None
    """None: the branches are not scaled with the depth."""
    hashes: Hashes = Hashes()
    environment: Environment = Environment()
    earlier_environments: tuple[Environment, ...] = ()
    """The other environments in which steps of this run were made before it was resumed."""
    step: Whole | None = None
    """Updates made so far."""
    final: Final = Final()
    execution: HowExecuted = HowExecuted()
    timing: Timing = Timing()
    tables: dict[str, Table] = {}
    """The tables of the run by name. Empty for runs of older versions."""
    weights: dict[str, WeightsFile] = {}
    """The kept weights by the name of their file. Empty for runs that keep none, or of older versions."""
    no_weights: str | None = None
    """Why the run cannot keep weights that were asked for. None: it can, or nobody asked."""
    keeps_checkpoint: bool | None = None
    """Whether the study asked to keep the last state of the run. None: the run is not finished, or of an
    older version."""
    reason: str | None = None
    """The reason for a failure."""

    @classmethod
    def of(cls, run: Run | WatchedRun, **facts: Any) -> Self:
        """Return the record of a run that starts.

        Its status is `interrupted` until the run ends, so that a kill leaves a true record."""
        return cls(
            format=FORMAT,
            run_id=run.run_id,
            network=run.network,
            depth=run.depth,
            seed=run.seed,
            status="interrupted",
            run=run.settings() if isinstance(run, WatchedRun) else run.model_dump(mode="json"),
        ).changed(**facts)

    def to_json(self) -> str:
        """Return the content of run.json."""
        return json.dumps(self.to_dict(), indent=1) + "\n"

    @property
    def is_finished(self) -> bool:
        """Whether the run is a result and is never trained again."""
        return self.status in FINISHED

    @property
    def is_watched(self) -> bool:
        """Whether `depthbench.watch` recorded the run in a user's training loop."""
        return "watched" in self.run

    def environments_before(self, now: Environment) -> tuple[Environment, ...]:
        """Return the other environments in which steps of this run were made before it is resumed."""
        stored = (*self.earlier_environments, self.environment)
        return tuple(environment for environment in stored if environment.to_dict() and environment != now)

    @property
    def family(self) -> str:
        """The name in NETWORKS."""
        return self.run.get("of") or self.network

    @property
    def plugin(self) -> str:
        """SHA-256 of the plug-in files that the run used; empty if it used none."""
        return self.run.get("plugin") or ""
