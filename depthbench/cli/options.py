"""The options that several commands share, with their help."""

from pathlib import Path
from typing import Annotated

import typer


def option(help: str, *names: str, **more):
    """An option whose help alone says what happens without it."""
    return typer.Option(*names, help=help, show_default=False, **more)


Results = Annotated[Path, typer.Argument(help="A study's directory, e.g. results/quick.", show_default=False)]
StudyName = Annotated[
    str | None,
    typer.Argument(
        help="A bundled study (`depthbench list studies`) or a TOML file. Left out: `quick`, or with --data "
        "other than digits the recipe of He et al. 2015 on that data.",
        show_default=False,
    ),
]
Plugins = Annotated[
    list[Path] | None,
    option("A Python file with your own NETWORKS, DATASETS or PROBES.", metavar="FILE"),
]
DataName = Annotated[
    str | None,
    option(
        "A data set (`depthbench list data`) or a folder of images: train/ and test/ or val/, each with a "
        "folder a class, or one folder of classes, which is split."
    ),
]
Settings = Annotated[
    list[str] | None,
    option(
        "Any key of a study file, e.g. --set lr=0.05 --set options.norm=none.", "--set", metavar="KEY=VALUE"
    ),
]
Text, Number = str | None, int | None
Name = Annotated[Text, option("Store the results as a study of this name.")]
Depths = Annotated[Text, option("Weighted layers, e.g. 20,56,110.")]
Networks = Annotated[Text, option("Network families, e.g. plain,resnet.")]
Seeds = Annotated[Text, option("How many (3 means 0,1,2), or which: 0,4 (one: 4,).")]
DataDir = Annotated[Path | None, option("Where downloads and decoded images go. Default: the user's cache.")]
ImageSize = Annotated[Number, option("Make a folder's images this many pixels square.")]
SkipBadImages = Annotated[
    bool,
    option(
        'Leave out unreadable images; with data.decode = "as_read", which opens none at first, empty files.',
        "--skip-bad-images",
    ),
]
Steps = Annotated[Number, option("Optimiser updates of each run.")]
Epochs = Annotated[float | None, option("The same as passes over the training set.")]
BatchSize = Annotated[Number, option("Images in each update.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
Precision = Annotated[Text, option("fp32, tf32 or bf16.")]
Jobs = Annotated[
    str,
    option(
        "Runs at once: a number, or auto, for the machine and its memory. On a CPU fewer have more threads "
        "each, which round differently. Default: auto."
    ),
]
Recompute = Annotated[
    bool | None,
    option(
        "Compute activations twice rather than keep them. Default: where memory demands it.",
        "--recompute/--no-recompute",
    ),
]
StepKind = Annotated[
    str,
    option(
        "How updates are made on a GPU: auto, eager, captured (as a CUDA graph), or compiled (captured, with "
        "fused kernels). Default: auto."
    ),
]
Stored = Annotated[Path, typer.Option(help="Where studies are stored.")]
TensorBoard = Annotated[
    bool, option("Write event files for TensorBoard too, into the study's tensorboard/.", "--tensorboard")
]
Quiet = Annotated[bool, option("Say nothing but errors.", "--quiet")]
AsJson = Annotated[bool, option("Print the outcome as JSON.", "--json")]
