"""The columns of layers.parquet besides the probes. They say what each row is. No torch here."""

RUN_COLUMNS = ("run_id", "network", "depth", "seed")
"""The columns that `load_results` adds to every table. They name the run of a row."""
COMPARISON_COLUMNS = ("study", "own_network")
"""The columns that a comparison of studies adds."""
ROW_COLUMNS = ("step", "layer", "name", "stage")
"""The columns that every table has. `layer` counts from the input side. `stage` is the stage of the layer."""
NOT_MEASURED = "not_measured"
"""The probes that were not measured in a row, separated by commas. Every other NaN in the row was measured.

In a table without this column, everything was measured, or an older version wrote it."""
SELECTED_BY = "selected_by"
"""The probes that select the module or parameter of a row, separated by commas. Empty for weighted layers."""
USE = "use"
"""The number of the use, from 0, in a row of one use of a layer. Missing in a row of all uses."""
OTHER_COLUMNS = (NOT_MEASURED, SELECTED_BY, USE)
"""The columns that a table has only if it needs them."""
RESERVED = frozenset({*RUN_COLUMNS, *COMPARISON_COLUMNS, *ROW_COLUMNS, *OTHER_COLUMNS})
"""The names that no probe can have, because its name is its column."""


def problem_of_probe_name(name: str) -> str | None:
    """Return why a probe cannot have a name, in words, or None if it can."""
    if name in RESERVED:
        return "is that of another column of layers.parquet"
    if "," in name:  # it separates the names in NOT_MEASURED and SELECTED_BY
        return "contains ','"
    return None
