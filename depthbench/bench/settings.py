"""The settings of `depthbench bench`, validated. No torch here."""

from dataclasses import dataclass
from typing import Self

from depthbench.bench.case import CIFAR, NETWORK, Case
from depthbench.errors import BadInput
from depthbench.networks import NETWORKS
from depthbench.training.precisions import PRECISION_CHOICES, PRECISIONS

DIGITS_BATCH = 64  # as in the digits study
LIMITS = {"jobs": (1, 64), "repeats": (1, 100), "seconds": (0.01, 60), "batch_size": (2, CIFAR[0])}


@dataclass(frozen=True)
class Settings:
    """The settings of one benchmark. If `jobs` or `seconds` is None, the machine decides."""

    depths: tuple[int, ...]
    digits: tuple[int, ...]
    device: str
    jobs: int | None
    precision: str
    repeats: int
    seconds: float | None
    batch_size: int

    @classmethod
    def checked(
        cls,
        *,
        depths: str,
        digits: str,
        device: str,
        jobs: int | None,
        precision: str,
        repeats: int,
        seconds: float | None,
        batch_size: int,
    ) -> Self:
        """Return the settings that the flags ask for. Raises BadInput for an unusable one."""
        settings = cls(
            depths=_depths("--depths", depths),
            digits=_depths("--digits", digits),
            device=device,
            jobs=jobs,
            precision=precision,
            repeats=repeats,
            seconds=seconds,
            batch_size=batch_size,
        )
        for name, (low, high) in LIMITS.items():
            value = getattr(settings, name)
            if value is not None and not low <= value <= high:
                raise BadInput(f"--{name.replace('_', '-')} {value}: should be {low} to {high}")
        if precision not in PRECISIONS:
            raise BadInput(f"--precision {precision}: use {PRECISION_CHOICES}")
        if not settings.cases():
            raise BadInput("--depths none --digits none leaves nothing to measure: name a depth")
        for case in settings.cases():
            try:
                NETWORKS[NETWORK].depths.n(case.depth)
            except BadInput as error:
                raise BadInput(f"--{'digits' if case.digits else 'depths'}: {error}") from None
        return settings

    def cases(self) -> list[Case]:
        """Return all cases, those at 32 x 32 pixels first."""
        cifar = [Case(depth, False, self.batch_size, self.precision) for depth in self.depths]
        return cifar + [Case(depth, True, DIGITS_BATCH, self.precision) for depth in self.digits]

    def command(self, device: str, jobs: int, seconds: float) -> str:
        """Return the command that repeats this benchmark on this kind of machine."""
        lists = (",".join(map(str, depths)) or "none" for depths in (self.depths, self.digits))
        return (
            "depthbench bench --depths {} --digits {} ".format(*lists)
            + f"--device {device} --jobs {jobs} --precision {self.precision} --repeats {self.repeats} "
            f"--seconds {seconds:g} --batch-size {self.batch_size}"
        )


def _depths(flag: str, text: str) -> tuple[int, ...]:
    """Parse `"20,56"` as (20, 56) and `"none"` as ()."""
    if text.strip() == "none":
        return ()
    try:
        depths = [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        depths = []
    if not depths:
        raise BadInput(f"{flag} {text}: use a list of depths, e.g. {flag} 20,56, or {flag} none")
    return tuple(dict.fromkeys(depths))
