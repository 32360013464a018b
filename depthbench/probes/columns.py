"""The columns of layers.parquet that say what its rows are, beside one column per probe. No torch here."""

ROW_COLUMNS = ("step", "layer", "name", "stage")
"""The columns that every table has. `layer` counts from the input side, `stage` is that of the layer."""
NOT_MEASURED = "not_measured"
"""The probes whose NaN in a row means that they were not measured, with commas. Every other NaN was measured.

A table without this column has no such NaN, unless it is of a version that did not tell them apart."""
SELECTED_BY = "selected_by"
"""For a row of a module or parameter: the probes that select it, with commas. Empty for weighted layers."""
USE = "use"
"""For a row of one use of a layer: which one, from 0 on. Missing for the row of all uses."""
OTHER_COLUMNS = (NOT_MEASURED, SELECTED_BY, USE)
"""The columns that a table has only if it needs them."""
