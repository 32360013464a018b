"""The columns of layers.parquet besides the probes. They say what each row is. No torch here."""

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
