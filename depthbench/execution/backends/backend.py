"""The interface of a backend."""

from typing import Protocol

from depthbench.events import Display
from depthbench.execution.plan import Plan


class Backend(Protocol):
    """A function that trains the runs of a plan.

    It is called with the results directory open and locked, and with a display that is entered and has shown
    StudyStarted. It must:

    - show each event as it happens, and call the display's `tick` about twice a second. Every run that starts
      gets a RunStarted and, unless it starts again, one RunEnded;
    - train and store each run of `plan.todo` with `training.loop.train`, in the directory
      `plan.store.run(run_id).path`, on `plan.data`, with `plan.threads` threads and the mode of the plan. At
      most `plan.jobs` runs train at once, in the order of `plan.todo`;
    - let no run stop another. A run that raises is stored with status `failed` and a reason, and so is a run
      whose process dies. Runs that shared the process with one that raised are trained again in another one.
      If storing fails, e.g. because the disk is full, the other runs go on;
    - on Ctrl-C or SIGTERM: show Stopping, start no more runs, have every run in progress save its state, show
      their RunEnded, and raise `errors.Interrupted`. On a second signal: stop at once. What was saved before
      stays valid."""

    def __call__(self, plan: Plan, display: Display) -> None: ...
