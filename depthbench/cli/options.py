"""The options that commands share, each declared once, with its help.

A group of options is a dataclass. A command takes groups as parameters, and `expand_options` turns each into
one parameter per field, which typer then reads."""

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from depthbench.cli import completion
from depthbench.training.precisions import PRECISION_CHOICES

if TYPE_CHECKING:
    from depthbench.execution.settings import Execution
    from depthbench.study.model import Study
    from depthbench.training.mode import StepMode


def option(help: str, *names: str, **settings: Any) -> Any:
    """Return an option for which typer adds no default to the help, because `help` describes it."""
    return typer.Option(*names, help=help, show_default=False, **settings)


def _panel(title: str) -> Callable[..., Any]:
    """Return `option` for a panel of the help."""
    return functools.partial(option, rich_help_panel=title)


_study, _recipe, _execution, _cluster, _output = map(
    _panel, ("Study", "Recipe", "Execution", "Cluster", "Output")
)

Results = Annotated[
    str,
    typer.Argument(help="A study's results directory or its URL, e.g. results/quick.", show_default=False),
]


def plugin_option(panel: str | None = None) -> Any:
    """Return the option `--plugin`, in a panel of the help if one is given."""
    text = "A Python file with your own NETWORKS, DATASETS, PROBES, OPTIMIZERS, FIGURES or TABLES."
    return option(text, metavar="FILE", rich_help_panel=panel)


def tensorboard_option(panel: str | None = None) -> Any:
    """Return the option `--tensorboard`, in a panel of the help if one is given."""
    text = "Also write event files for TensorBoard, in the study's tensorboard/."
    return option(text, "--tensorboard", rich_help_panel=panel)


@dataclass(frozen=True, kw_only=True)
class GridOptions:
    """The study to start from, and its grid."""

    study: Annotated[
        str | None,
        typer.Argument(
            help="A bundled study (`depthbench list studies`) or a TOML file. Default: quick, or the recipe "
            "of He et al. 2015 if --data names images other than digits.",
            show_default=False,
            autocompletion=completion.studies,
        ),
    ] = None
    depths: Annotated[
        str | None,
        _study(
            "Numbers of weighted layers (transformers: of blocks), e.g. 20,56,110, or auto: up to three "
            "depths of each network, so that all networks have similar numbers of multiply-adds."
        ),
    ] = None
    networks: Annotated[
        str | None,
        _study("Network families, e.g. plain,resnet.", autocompletion=completion.networks),
    ] = None
    sweep: Annotated[
        list[str] | None,
        _study(
            "Train every network with each of several values of a key of the recipe or the options, e.g. "
            "--sweep lr=0.01,0.03,0.1.",
            "--sweep",
            metavar="KEY=VALUES",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """Changes to a study."""

    seeds: Annotated[
        str | None,
        _study("Number of seeds (3 means 0,1,2), or a list; write `4,` for seed 4 alone."),
    ] = None
    name: Annotated[str | None, _study("Store the results under another name.")] = None
    data: Annotated[
        str | None,
        _study(
            "A data set (`depthbench list data`), a folder of images, or text: a file, a folder, or a .csv "
            "of labels and texts. A folder of images contains train/ and test/ (or val/), each with one "
            "folder per class. A folder that contains only class folders is split.",
            autocompletion=completion.data_sets,
        ),
    ] = None
    image_size: Annotated[
        int | None, _study("Resize and crop the images of a folder to this many pixels square.")
    ] = None
    skip_bad_images: Annotated[
        bool,
        _study(
            'Leave out unreadable images of a folder. With data.decode = "as_read", leave out '
            "only empty files and broken links.",
            "--skip-bad-images",
        ),
    ] = False
    plugin: Annotated[list[Path] | None, plugin_option("Study")] = None
    trust_plugins: Annotated[
        bool,
        _study(
            "Execute the plug-ins that the study file names. Without this, each must also be named with "
            "--plugin.",
            "--trust-plugins",
        ),
    ] = False
    settings: Annotated[
        list[str] | None,
        _study(
            "Set any key of a study file, e.g. --set lr=0.05 --set options.norm=none.",
            "--set",
            metavar="KEY=VALUE",
        ),
    ] = None
    steps: Annotated[int | None, _recipe("Optimiser updates of each run.")] = None
    epochs: Annotated[
        float | None, _recipe("Length of each run in passes over the training set, instead of --steps.")
    ] = None
    batch_size: Annotated[int | None, _recipe("Images in each update.")] = None
    precision: Annotated[
        str | None, _recipe(f"{PRECISION_CHOICES}.", autocompletion=completion.precisions)
    ] = None

    def load(
        self,
        study: str | None,
        *,
        networks: str | None = None,
        depths: str | None = None,
        sweep: Sequence[str] | None = None,
        searched: Sequence[str] = (),
    ) -> "Study":
        """Return the study that the options describe. Raises BadInput. searched: see `read_study`."""
        from depthbench.cli import flags
        from depthbench.cli.consent import Consent
        from depthbench.paths import expand
        from depthbench.plugins.loading import load_plugins
        from depthbench.study.file import read_study

        plugins = [expand(file).resolve() for file in self.plugin or ()]
        load_plugins(plugins)
        overrides = flags.overrides(
            self.settings or [],
            sweep=flags.parse_sweep(list(sweep or [])),
            grid={
                "network": flags.parse_list("--networks", networks, str),
                "depth": flags.parse_depths(depths),
                "seed": flags.parse_seeds(self.seeds),
            },
            data={"image_size": self.image_size, "skip_bad_images": self.skip_bad_images or None},
            recipe={
                "steps": self.steps,
                "epochs": self.epochs,
                "batch_size": self.batch_size,
                "precision": self.precision,
            },
        )
        if plugins:
            overrides["plugins"] = [str(file) for file in plugins]
        base, overrides = flags.choose_study(study, self.data, self.name, overrides)
        consent = Consent(plugins, self.trust_plugins)
        return read_study(base, overrides, check_consent=consent.check, searched=searched)


@dataclass(frozen=True, kw_only=True)
class ExecutionOptions:
    """Settings of the execution of a study."""

    device: Annotated[
        str,
        _execution("auto, cpu, cuda, cuda:1 or mps. Default: auto.", autocompletion=completion.devices),
    ] = "auto"
    jobs: Annotated[
        str,
        _execution(
            "Number of runs at once. Default: auto, as many as cores and memory allow. On a CPU, fewer runs "
            "have more threads each, which changes how numbers are rounded."
        ),
    ] = "auto"
    recompute: Annotated[
        bool | None,
        _execution(
            "Compute activations twice instead of keeping them, which saves memory and takes more time. "
            "Default: only where memory requires it.",
            "--recompute/--no-recompute",
        ),
    ] = None
    step: Annotated[
        str,
        _execution(
            "How a GPU executes an update: auto, eager, captured (as a CUDA graph) or compiled (captured, "
            "with fused kernels). Default: auto.",
            autocompletion=completion.step_modes,
        ),
    ] = "auto"
    stall_timeout: Annotated[
        float | None,
        _execution(
            "Minutes without progress after which a run is stopped as failed. The start of its process "
            "counts. Default: ten times its longest step so far, but at least 5 minutes."
        ),
    ] = None
    keep_weights: Annotated[
        str | None,
        _execution(
            "Weights that each run keeps in weights.safetensors: none, last, best (by validation error or, "
            "without a validation set, test error) or every:N updates. Finished runs that lack them are "
            "trained again. Default: last, for runs that are trained anyway.",
            metavar="WHICH",
        ),
    ] = None
    data_dir: Annotated[
        Path | None,
        _execution("Folder for downloaded and decoded images. Default: the user's cache."),
    ] = None
    results: Annotated[
        str,
        _execution(
            "Folder for the study's results directory, or a URL such as s3://bucket/folder. Default: results."
        ),
    ] = "results"
    shard: Annotated[
        str | None,
        _cluster(
            "Train only part I of N of the study, e.g. 2/8. Jobs for the other parts can share the results "
            "directory.",
            metavar="I/N",
        ),
    ] = None
    on: Annotated[
        str,
        _cluster(
            "Where runs train (`depthbench list backends`). Default: auto.",
            autocompletion=completion.backends,
        ),
    ] = "auto"
    address: Annotated[str | None, _cluster("Address of the cluster, for --on ray.")] = None
    slurm: Annotated[
        list[str] | None,
        _cluster(
            "A parameter of the jobs, for --on slurm, e.g. --slurm partition=gpu --slurm time=4:00:00.",
            metavar="KEY=VALUE",
        ),
    ] = None
    cpus_per_run: Annotated[
        int | None, _cluster("Cores, and threads, of each run on a cluster. Default: 1.")
    ] = None
    gpus_per_run: Annotated[
        float | None,
        _cluster("GPUs of each run on a cluster, e.g. 0.25 for four runs on one GPU. Default: 0."),
    ] = None

    def settings(self, *, fresh: bool = False) -> "Execution":
        """Return the options as one object. Raises BadInput for a bad number."""
        from depthbench.cli.flags import parse_jobs, parse_pairs, parse_shard
        from depthbench.execution.settings import Execution
        from depthbench.paths import locate

        return Execution(
            results=locate(self.results),
            device=self.device,
            jobs=parse_jobs(self.jobs),
            step_mode=cast("StepMode", self.step),  # the plan checks it
            recompute=self.recompute,
            stall_timeout=self.stall_timeout,
            keep_weights=self.keep_weights,
            data_dir=self.data_dir,
            fresh=fresh,
            shard=parse_shard(self.shard),
            backend=self.on,
            address=self.address,
            slurm=parse_pairs("--slurm", self.slurm or []),
            cpus_per_run=self.cpus_per_run,
            gpus_per_run=self.gpus_per_run,
        )


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """Settings of the output."""

    quiet: Annotated[bool, _output("Print errors only.", "--quiet")] = False
    as_json: Annotated[bool, _output("Print the results as JSON.", "--json")] = False
    no_report: Annotated[bool, _output("Draw no report of the results.", "--no-report")] = False


def expand_options(command: Callable[..., None]) -> Callable[..., None]:
    """Return `command` with one parameter for each field of its groups of options."""
    signature = inspect.signature(command)
    parameters: list[inspect.Parameter] = []
    groups: dict[str, type] = {}
    for name, parameter in signature.parameters.items():
        if not (isinstance(parameter.annotation, type) and is_dataclass(parameter.annotation)):
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        groups[name] = parameter.annotation
        for field in fields(parameter.annotation):
            parameters.append(
                inspect.Parameter(
                    field.name,
                    inspect.Parameter.KEYWORD_ONLY,
                    default=field.default,
                    annotation=field.type,
                )
            )

    def expanded(**values: Any) -> None:
        chosen = {
            name: group(**{field.name: values.pop(field.name) for field in fields(group)})
            for name, group in groups.items()
        }
        command(**chosen, **values)

    expanded.__name__, expanded.__doc__ = command.__name__, command.__doc__
    expanded.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    expanded.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return expanded
