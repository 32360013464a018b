"""Make the final evaluations of one run and keep their outcomes."""

from typing import TYPE_CHECKING

from depthbench.study.model import Run
from depthbench.training.final_evaluations import FINAL_EVALUATIONS
from depthbench.training.final_evaluations.evaluation import (
    FinalEvaluation,
    Notify,
    Outcome,
    ShouldStop,
    TrainedNetwork,
)

if TYPE_CHECKING:
    import pandas as pd


class FinalEvaluations:
    """The entries of FINAL_EVALUATIONS that apply to `run`, and their outcomes."""

    def __init__(self, run: Run, classes: int):
        self.run, self.classes = run, classes
        self._outcomes: dict[str, Outcome] = {}

    @property
    def passes(self) -> int:
        """The number of forward passes per test image of all evaluations."""
        return sum(evaluation.passes(self.run) for evaluation in self._evaluations().values())

    def evaluate(self, trained: TrainedNetwork, should_stop: ShouldStop, notify: Notify) -> bool:
        """Make all evaluations. Return False if `should_stop` interrupted them."""
        for name, evaluation in self._evaluations().items():
            outcome = evaluation.evaluate(trained, should_stop, notify)
            if outcome is None:
                return False
            self._outcomes[name] = outcome
        return True

    def tables(self, is_diverged: bool) -> dict[str, "pd.DataFrame"]:
        """Return the tables to store, by name."""
        outcomes = self._outcomes_of(is_diverged)
        return {name: outcome.table for name, outcome in outcomes.items() if outcome.table is not None}

    def numbers(self, is_diverged: bool) -> dict[str, float]:
        """Return the numbers to add to the final errors of run.json."""
        outcomes = self._outcomes_of(is_diverged).values()
        return {name: number for outcome in outcomes for name, number in outcome.numbers.items()}

    def _outcomes_of(self, is_diverged: bool) -> dict[str, Outcome]:
        if not is_diverged:
            return self._outcomes
        evaluations = self._evaluations().items()
        return {name: evaluation.at_chance(self.run, self.classes) for name, evaluation in evaluations}

    def _evaluations(self) -> dict[str, FinalEvaluation]:
        loaded = {name: entry.load() for name, entry in FINAL_EVALUATIONS.items()}
        return {name: evaluation for name, evaluation in loaded.items() if evaluation.applies(self.run)}
