"""The final errors of a run: the last, the best, and the one that the validation set selects.

The best test error is selected on the test set itself, so it must not be reported as the result."""

import math
from typing import Any

EVALUATED = ("train_error_eval", "test_error", "val_error")


class Tracker:
    """The lowest and the selected errors among the evaluated rows of one run."""

    def __init__(self) -> None:
        self.best: tuple[float, int] | None = None  # lowest test error (%), its step
        self.lowest_val: float | None = None  # lowest validation error (%)
        self.selected: tuple[float | None, int] | None = None  # test error (%) at that evaluation, its step
        self.evaluations_without_progress = 0

    def see(self, row: dict[str, Any]) -> None:
        """Process a history row. Without an error of an evaluation, it changes nothing.

        The earlier of equal errors counts. If some rows have a test error as well, the validation set selects
        among these."""
        test: float | None = None if math.isnan(row["test_error"]) else row["test_error"]
        val = row["val_error"]
        if test is not None and (self.best is None or test < self.best[0]):
            self.best = (test, row["step"])
        if math.isnan(val):
            return
        had_test = self.selected is not None and self.selected[0] is not None
        if had_test and test is None:
            return
        has_first_test = test is not None and not had_test
        if has_first_test or self.lowest_val is None or val < self.lowest_val:
            self.lowest_val, self.selected = val, (test, row["step"])
            self.evaluations_without_progress = 0
        else:
            self.evaluations_without_progress += 1

    def is_best(self, step: int) -> bool:
        """Return whether the evaluation after `step` updates is the best so far.

        It is judged by the validation error or, without a validation set, by the test error."""
        best = self.best if self.selected is None else self.selected
        return best is not None and best[1] == step

    def final(self, history: list[dict[str, Any]], chance_error: float | None) -> dict[str, Any]:
        """Return the final errors for run.json. The last errors of a diverged run are `chance_error`.

        These are its train error and the errors that its evaluations have measured. If it diverged before the
        first evaluation, these are the errors on the training and the test set."""
        final: dict[str, Any] = {}
        for name in ("train_error", *EVALUATED):
            seen = [row[name] for row in history if math.isfinite(row[name])]
            final[name] = seen[-1] if seen else None
        if chance_error is not None:
            evaluated = [name for name in EVALUATED if final[name] is not None]
            for name in ("train_error", *(evaluated or EVALUATED[:2])):
                final[name] = chance_error
        final["best_test_error"], final["best_step"] = self.best or (None, None)
        final["val_selected_test_error"], final["val_selected_step"] = self.selected or (None, None)
        return final

    def state(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        return dict(vars(self))

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to `state`."""
        vars(self).update(state)
