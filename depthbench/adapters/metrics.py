"""The metrics of another package that go into the history of a run."""

from collections.abc import Collection, Mapping
from typing import Any

from depthbench.errors import BadInput, nearest
from depthbench.watching.log import COLUMNS

ADVICE = (
    "pass a dict from columns of the history to the names under which the loop logs them, e.g. "
    'metrics={"val_error": "val_err"}'
)


class Metrics:
    """What a loop logs for the history. names: column of the history -> name under which the loop logs it.

    Raises BadInput for an unknown column, and for anything other than names."""

    def __init__(self, names: Mapping[str, str] | None):
        if names is not None and not isinstance(names, Mapping):
            raise BadInput(f"DepthbenchCallback: metrics={names!r}: {ADVICE}")
        self.names = dict(names or {})
        for column, name in self.names.items():
            if not isinstance(column, str) or not isinstance(name, str):
                raise BadInput(f"DepthbenchCallback: metrics={{{column!r}: {name!r}}}: {ADVICE}")
            if column not in COLUMNS:
                raise BadInput(
                    f"DepthbenchCallback: metrics={{{column!r}: ...}}: {nearest(column, COLUMNS, 'columns')}"
                )
        self._logged: set[str] = set()
        self._awaited = set(self.names)  # columns without a value so far, of which nothing was said

    def values_of(self, logged: Mapping[str, Any], columns: Collection[str] = COLUMNS) -> dict[str, Any]:
        """Return column -> value for those of `columns` that are among the values that a loop has logged."""
        self._logged.update(logged)
        found = {
            column: logged[name]
            for column, name in self.names.items()
            if column in columns and name in logged
        }
        self._awaited -= found.keys()
        return found

    def missing(self, columns: Collection[str] = COLUMNS) -> list[str]:
        """Say which of `columns` have had no value so far, in a line each. Says so once for each column."""
        missing = {
            column: name
            for column, name in self.names.items()
            if column in self._awaited and column in columns
        }
        self._awaited -= missing.keys()
        known = ", ".join(map(repr, sorted(self._logged))) or "nothing"
        return [
            f"metrics={{{column!r}: {name!r}}}: no {name!r} has been logged so far; logged: {known}"
            for column, name in missing.items()
        ]
