"""The durations of the parts of a run, and the time left of a run in progress."""

from bisect import bisect_left
from dataclasses import dataclass, field

from depthbench.study.model import Run

FORWARD_PART = 1 / 3  # of the work of a training step: the backward pass computes two gradients per layer
SLOW_CPU = 1e10  # multiply-adds per second


@dataclass(frozen=True)
class Pace:
    """The durations of the parts of a run, in seconds."""

    build: float
    """Seconds until the first step."""
    step: float
    probed_step: float
    evaluation: float
    """Seconds per image."""

    def of(self, run: Run, evaluated: int) -> float:
        """Return the seconds of `run`, if each of its evaluations takes `evaluated` images."""
        probed = sum(run.is_probed(step) for step in range(run.steps))
        images = count_evaluations(run) * evaluated
        return self.build + self.of_parts(run.steps - probed, probed, images)

    def of_parts(self, steps: int, probed_steps: int, images: float) -> float:
        """Return the seconds of steps without and with probes, and of the evaluation of `images`."""
        return steps * self.step + probed_steps * self.probed_step + images * self.evaluation


def count_evaluations(run: Run) -> int:
    """Return the number of evaluations of `run`. The last step is always evaluated."""
    return -(-run.steps // run.evaluate_every)


def step_on_slow_cpu(run: Run, multiply_adds: int) -> float:
    """Return the seconds of one step. multiply_adds: those of the forward pass of one image."""
    return run.recipe.batch_size * multiply_adds / FORWARD_PART / SLOW_CPU


@dataclass
class _Mean:
    """A mean of durations in seconds."""

    total: float = 0.0
    count: float = 0

    def add(self, seconds: float, count: float = 1) -> None:
        self.total += seconds
        self.count += count

    def or_else(self, other: float) -> float:
        """Return the mean, or `other` if there are no durations."""
        return self.total / self.count if self.count else other


@dataclass
class Meter:
    """The durations measured in a run in progress, and its time left."""

    run: Run
    images: int
    """Number of images of each evaluation."""
    final_images: float
    """Number of images of the final evaluations."""
    step: int
    """Number of updates made."""
    seconds: float
    """Seconds of training so far, without evaluations."""
    evaluating: float
    """Seconds of evaluations so far."""
    evaluations: int
    """Number of evaluations made."""
    longest_step: float = 0.0
    """Seconds of the longest step of this process so far. Before the first: the estimate for a slow CPU."""
    _first: float = field(init=False, default=0.0)
    """Duration of the first step of this process, which also warms up. The means exclude it."""
    _plain: _Mean = field(init=False, default_factory=_Mean)
    _probed: _Mean = field(init=False, default_factory=_Mean)
    _image: _Mean = field(init=False, default_factory=_Mean)
    _probed_steps: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self._probed_steps = [step for step in range(self.run.steps) if self.run.is_probed(step)]

    def see(self, step: int, seconds: float, evaluating: float) -> None:
        """Record the state after at most one update and one evaluation. The numbers are as in the fields."""
        if step > self.step:
            duration = seconds - self.seconds
            self.longest_step = max(duration, self.longest_step if self._first else 0.0)
            if self._first == 0.0:
                self._first = duration
            else:
                mean = self._probed if self.run.is_probed(self.step) else self._plain
                mean.add(duration)
        if evaluating > self.evaluating:
            self._image.add(evaluating - self.evaluating, self.images)
            self.evaluations += 1
        self.step, self.seconds, self.evaluating = step, seconds, evaluating

    @property
    def seconds_left(self) -> float:
        """Seconds until the run ends, from the mean durations so far."""
        plain = self._plain.or_else(self._probed.or_else(self._first))
        per_image = self._image.or_else(plain / self.run.recipe.batch_size * FORWARD_PART)
        pace = Pace(build=0.0, step=plain, probed_step=self._probed.or_else(plain), evaluation=per_image)
        probed = len(self._probed_steps) - bisect_left(self._probed_steps, self.step)
        evaluated = (count_evaluations(self.run) - self.evaluations) * self.images + self.final_images
        return pace.of_parts(self.run.steps - self.step - probed, probed, evaluated)
