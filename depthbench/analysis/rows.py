"""The rows of a table, one by one."""

from typing import Any

import pandas as pd


def rows_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return each row of `table` as column -> value."""
    row: dict[str, Any] = {}  # pandas uses only its type
    return table.to_dict("records", into=row)
