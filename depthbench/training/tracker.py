"""The final errors of a run: the last, the best, and the one that the validation set selects.

The best test error is selected on the test set itself, so it must not be reported as the result."""

import math
from typing import Any


class Tracker:
    """The lowest and the selected errors among the evaluated rows of one run."""

    def __init__(self) -> None:
        self.best: tuple[float, int] | None = None  # lowest test error (%), its step
        self.lowest_val: float | None = None  # lowest validation error (%)
        self.selected: tuple[float, int] | None = None  # test error (%) at that evaluation, its step
        self.evaluations_without_progress = 0

    def see(self, row: dict[str, Any]) -> None:
        """Process an evaluated history row. The earlier of equal errors counts."""
        test, val = row["test_error"], row["val_error"]
        if self.best is None or test < self.best[0]:
            self.best = (test, row["step"])
        if math.isnan(val):
            return
        if self.lowest_val is None or val < self.lowest_val:
            self.lowest_val, self.selected = val, (test, row["step"])
            self.evaluations_without_progress = 0
        else:
            self.evaluations_without_progress += 1

    def final(self, history: list[dict[str, Any]], chance_error: float | None) -> dict[str, Any]:
        """Return the final errors for run.json. The last errors of a diverged run are `chance_error`."""
        final: dict[str, Any] = {}
        for name in ("train_error", "train_error_eval", "test_error", "val_error"):
            seen = [row[name] for row in history if math.isfinite(row[name])]
            final[name] = seen[-1] if seen else None
            if chance_error is not None and (name != "val_error" or self.lowest_val is not None):
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
