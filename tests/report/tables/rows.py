"""The rows of a table as readers see them."""

from depthbench.report.entries import Table


def rows(table: Table, **values: str) -> list[dict[str, str]]:
    """The shown rows with these values."""
    shown = table.shown
    for column, value in values.items():
        shown = shown[shown[column] == value]
    return shown.to_dict("records")
