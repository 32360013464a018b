"""The directory of one run."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depthbench.files import atomic, write_text
from depthbench.store.record import ALWAYS, FINISHED

if TYPE_CHECKING:
    import pandas as pd


class RunStore:
    """The directory of one run."""

    def __init__(self, path: Path):
        self.path = path
        self.checkpoint = path / "checkpoint.pt"

    def read(self) -> dict[str, Any] | None:
        """run.json, or None where it is missing or cannot be read."""
        try:
            record = json.loads((self.path / "run.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return record if isinstance(record, dict) and "status" in record else None

    def write(self, record: dict[str, Any]) -> None:
        """Replace run.json."""
        write_text(self.path / "run.json", json.dumps(record, indent=1, default=str) + "\n")

    def write_rows(self, history: list[dict], layers: "pd.DataFrame") -> None:
        """Replace history.parquet and layers.parquet."""
        import pandas as pd

        self.write_frame("history", pd.DataFrame(history))
        self.write_frame("layers", layers)

    def write_frame(self, name: str, frame: "pd.DataFrame") -> None:
        """Replace NAME.parquet."""
        with atomic(self.path / f"{name}.parquet") as temporary:
            frame.to_parquet(temporary, index=False)

    def frame(self, name: str) -> "pd.DataFrame":
        """`history`, `layers`, or a table that only some runs have. Raises OSError or ValueError where the
        file is missing or broken."""
        import pandas as pd

        return pd.read_parquet(self.path / f"{name}.parquet")

    def is_finished(self) -> bool:
        """Whether the run is a result whose files can all be read."""
        record = self.read()
        if record is None or record["status"] not in FINISHED:
            return False
        try:
            tables = {file.stem: self.frame(file.stem) for file in self.path.glob("*.parquet")}
        except (OSError, ValueError):
            return False
        return len(tables.get("history", ())) > 0 and tables.keys() >= set(ALWAYS)
