"""The sections `[recipe]` and `[evaluate]` of a study: how to train and evaluate a network. No torch here."""

import json
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from depthbench.data.corruptions import CORRUPTIONS
from depthbench.data.settings import PAPER_CROP_SIDE
from depthbench.errors import BadInput
from depthbench.registry import is_in
from depthbench.schema import Count, NotNegative, Percent, Positive, Section, each_once
from depthbench.training.optimizers import OPTIMIZERS
from depthbench.training.precisions import Precision
from depthbench.training.schedules import SCHEDULES
from depthbench.training.warmups import WARMUPS


def check_parts(batch_size: int, processes: int) -> None:
    """Raise BadInput if a batch has no image for some of the processes that train one run."""
    if batch_size < processes:
        raise BadInput(
            f"recipe.batch_size = {batch_size}: the run has {processes} processes, and each needs an image "
            f"of every batch; use at most {batch_size} processes or a --batch-size of at least {processes}"
        )


class Recipe(Section):
    """The training of a network. The defaults are the protocol of He et al. 2015 for CIFAR, sec. 4.2."""

    steps: Count | None = None
    """Length of a run in optimiser updates. Unset: `epochs`, or 64,000 (HE2015_CIFAR_STEPS in
    networks/families/cifar.py)."""
    epochs: Positive | None = None
    """Length of a run in passes over the training set, instead of `steps`."""
    batch_size: Annotated[int, Field(ge=2)] = 128
    """Images in each update."""
    optimizer: Annotated[str, is_in(OPTIMIZERS)] = "sgd"
    """An entry of OPTIMIZERS (training/optimizers.py)."""
    optimizer_settings: dict[str, Any] = {}
    """Other settings of the optimiser, such as `betas = [0.9, 0.95]` (training/optimizers.py)."""
    lr: Positive = 0.1
    """The learning rate before warm-up and schedule."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Momentum of optimisers that have one."""
    nesterov: bool = False
    """Whether the momentum is that of Nesterov."""
    weight_decay: NotNegative = 1e-4
    """L2 coefficient on every parameter, norms and biases included as in the paper (see decay_norm)."""
    decay_norm: bool = True
    """Whether parameters that are not weights of layers decay too."""
    depth_rules: Literal["auto", "none"] = "auto"
    """The learning rate, weight decay and epsilon of the parameters in residual branches. auto: if
    options.depth_alpha scales the branches, these settings are scaled with it (training/depth_rules.py).
    none: those of all other parameters."""
    l1: NotNegative = 0.0
    """L1 coefficient on every parameter."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Fraction of each label that is spread over all classes."""
    class_weights: Literal["balanced"] | None = None
    """Weights of the classes in the loss. balanced: inversely proportional to the number of training images
    of a class, 1 on average over the images. The loss of a batch is the weighted mean, as in
    torch.nn.CrossEntropyLoss. Unset: all classes count alike."""
    clip_norm: Positive | None = None
    """Largest L2 norm of the gradient of all parameters. A larger gradient is scaled down to it."""
    schedule: Annotated[str, is_in(SCHEDULES)] = "step"
    """An entry of SCHEDULES (training/schedules). plateau: the rate is multiplied by gamma after
    plateau_patience evaluations without a lower validation error. Without a validation set it follows the
    train error in evaluation mode."""
    plateau_patience: Count = 3
    """Evaluations without a lower error before the schedule `plateau` lowers the rate."""
    milestones: list[Annotated[float, Field(gt=0)]] = [0.5, 0.75]
    """Where `step` lowers the rate. A number below 1 is a fraction of all steps (32k and 48k of 64k)."""
    gamma: Positive = 0.1
    """Factor of the rate at each milestone, or where the schedule `plateau` lowers it."""
    warmup: Annotated[str, is_in(WARMUPS)] = "hold"
    """An entry of WARMUPS (training/warmups). linear: up from 0 in warmup_steps. hold: the paper's rule, at
    hold_lr for networks of hold_from_depth or more until the train error (on the fly) is below
    hold_until_train_error."""
    warmup_steps: Positive = 0.1
    """Length of the linear warm-up. A number below 1 is a fraction of all steps."""
    hold_lr: Positive = 0.01
    """The learning rate of the warm-up `hold`."""
    hold_until_train_error: Percent = 80.0
    """The train error (percent) at which the warm-up `hold` ends."""
    hold_steps: Count | None = None
    """Hold for this number of steps, whatever the train error (400 in He et al. 2016). Unset: until the train
    error is below hold_until_train_error."""
    hold_from_depth: Count = 110
    """The shallowest depth at which the warm-up `hold` has an effect."""
    augmentation: Literal["crop", "scale"] = "crop"
    """crop: a random crop of an image with `pad` more pixels on each side. scale: a random crop of an image
    whose shorter side is drawn from `scale` (He et al. 2015, sec. 3.4); needs decode = "as_read"."""
    pad: Annotated[int, Field(ge=0)] = 4
    """Pixels padded on each side before a random crop. 0 for none."""
    scale: Annotated[list[Count], Field(min_length=2, max_length=2)] = [256, 480]
    """Lowest and highest length of the shorter side, in pixels for crops of 224. Other crops scale in
    proportion."""
    colour: bool = False
    """Colour augmentation (Krizhevsky et al. 2012, sec. 4.1)."""
    flip: bool | None = None
    """Random horizontal flips. Unset: if a mirrored image keeps its class."""
    precision: Precision = "fp32"
    """Precision of the forward and backward pass. fp32: 32-bit floats. tf32: with TF32 in matrix products.
    bf16: with autocast to bfloat16."""
    norm_momentum: Annotated[float, Field(gt=0, le=1)] | None = None
    """Momentum of batch normalisation: the weight of a batch in the running statistics, which evaluations
    use. Unset: that of the network, 0.1 for built-in ones."""
    sync_batch_norm: bool = True
    """Batch normalisation over the whole batch when several processes train one run (torchrun). Without it,
    each process normalises over its part of the batch, which changes the results."""
    patience: Count | None = None
    """Stop after this number of evaluations without a lower validation error."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        try:
            settings = OPTIMIZERS[self.optimizer].resolved().checked(self.optimizer_settings)
        except ValueError as error:
            raise ValueError(f"with {self.optimizer}, {error}") from None
        if self.steps is not None and self.epochs is not None:
            raise ValueError("steps and epochs exclude each other: set only one")
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov = true needs momentum above 0: set momentum, e.g. 0.9")
        if self.nesterov and settings.get("dampening"):
            dampening = f"optimizer_settings.dampening = {settings['dampening']:g}"
            raise ValueError(f"nesterov = true excludes {dampening}: remove one of them")
        if not PAPER_CROP_SIDE <= self.scale[0] <= self.scale[1]:
            raise ValueError(
                f"scale = {self.scale}: should be two numbers of pixels, the lower first, of at least "
                f"{PAPER_CROP_SIDE}, e.g. [256, 480]"
            )
        return self

    def without_augmentation(self, data: str) -> "Recipe":
        """Return the recipe with no shifted and no mirrored inputs. data: the name of the sequences.

        Raises BadInput for augmentation that is off by default and was set."""
        for is_set, key in (
            (bool(self.flip), "flip = true"),
            (self.colour, "colour = true"),
            (self.augmentation == "scale", 'augmentation = "scale"'),
        ):
            if is_set:
                raise BadInput(f"recipe.{key} changes images, and {data} has none: remove it")
        return self.model_copy(update={"pad": 0, "flip": False})

    def extended(self, budget: float) -> "Recipe":
        """Return the recipe with `budget` times its steps or epochs."""
        steps = None if self.steps is None else max(1, round(budget * self.steps))
        epochs = None if self.epochs is None else budget * self.epochs
        return self.model_copy(update={"steps": steps, "epochs": epochs})

    def without_ignored(self, network: str) -> "Recipe":
        """Return the recipe with 0 or false in place of defaults that a plug-in's optimiser does not take.

        network: the name to show. Raises BadInput for another value that would be ignored."""
        zeros = {}
        for key in OPTIMIZERS[self.optimizer].resolved().ignored:
            value, default = getattr(self, key), Recipe.model_fields[key].default
            zeros[key] = type(default)(0)
            if value not in (zeros[key], default):
                raise BadInput(
                    f"recipe.{key} = {json.dumps(value)}: {self.optimizer}, the optimizer of {network}, does "
                    f"not take it; set recipe.{key} = {json.dumps(zeros[key])}"
                )
        return self.model_copy(update=zeros) if zeros else self


class Evaluate(Section):
    """The evaluations of a run, in evaluation mode on clean images, and the rows that it logs."""

    every: Count | None = None
    """Steps between evaluations. Unset: 20 evaluations, or fewer (at least 1) if they would take more than
    half as many images as the run trains on."""
    train_size: Count | None = None
    """Measure the train error on this number of training images, drawn once, or on all if there are no more.
    Unset: on all, or in a short run on a tenth of the number it trains on, minus the number of test and
    validation images (at least 2,000)."""
    ten_crop: bool = False
    """At the end of a run, measure the top-1 and top-5 test errors of the centre crop and of 10 crops, whose
    scores are averaged (He et al. 2015, sec. 3.4). Needs decode = "as_read"."""
    robustness: Annotated[list[Annotated[str, is_in(CORRUPTIONS)]], AfterValidator(each_once)] = []
    """At the end of a run, measure test errors under these CORRUPTIONS, each at several strengths."""
    log_every: Count | None = None
    """Steps between logged rows. Unset: a five-hundredth of all steps, and at least 10."""
