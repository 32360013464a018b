"""The settings of stored studies, as a comparison shows them."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from depthbench.analysis.comparison import MADE_WITH
from depthbench.analysis.protocol import is_from_paper, settled_options
from depthbench.networks.options import NetworkOptions
from depthbench.store.record import Record
from depthbench.store.settings import shared_settings


def settings_of(study: Mapping[str, Any], records: Iterable[Record]) -> dict[str, Any]:
    """Return the settings that all runs of a study share, by dotted key.

    Includes the hash of its images, its variants, the code of its plug-ins, and the environment and execution
    of its runs."""
    images = study.get("data_hash", "")[:12]
    settings = ({"images": images} if images or "watched" not in study else {}) | shared_settings(study)
    settings |= {f"variants.{name}": variant for name, variant in study.get("variants", {}).items()}
    records = list(records)
    code = {record.network: record.plugin for record in records}
    settings |= {
        f"plug-in.{name}": "+".join(part[:12] for part in plugin.split("+"))
        for name, plugin in code.items()
        if plugin
    }
    for prefix in MADE_WITH:
        values = environment(records, prefix.removesuffix("."))
        settings |= {prefix + key: value for key, value in values.items()}
    return settings


def environment(records: Iterable[Record], part: str = "environment") -> dict[str, str]:
    """Return the environment of runs, or their "execution", as key -> value.

    If a value differs between runs, each value is listed with its number of runs."""
    environments = [getattr(record, part).to_dict() for record in records]
    merged = {}
    for key in dict.fromkeys(key for one in environments for key in one):
        values = Counter(str(one.get(key, "not recorded")) for one in environments)
        counted = [f"{value} ({n} run{'s'[: n > 1]})" for value, n in values.most_common()]
        merged[key] = next(iter(values)) if len(values) == 1 else "; ".join(counted)
    return merged


def drop_defaults(settings: Mapping[str, dict[str, Any]], runs: Mapping[str, pd.DataFrame]) -> None:
    """Remove options that one study leaves unset and the others set to the defaults of their networks."""
    unset = (f"options.{key}" for key, field in NetworkOptions.model_fields.items() if field.default is None)
    for key in unset:
        labels = [label for label, table in settings.items() if key in table]
        if len(labels) < len(settings) and all(
            _is_default(key, settings[label][key], runs[label]) for label in labels
        ):
            for label in labels:
                del settings[label][key]


def _is_default(key: str, value: object, runs: pd.DataFrame) -> bool:
    """Return whether `value` is the default of the option `key` in every network of `runs`."""
    networks = [
        {"family": family, "depth": depth}
        for family, depth in runs[["family", "depth"]].drop_duplicates().itertuples(index=False, name=None)
    ]
    return all(
        is_from_paper(run["family"]) and settled_options(run | {key: value}) == settled_options(run)
        for run in networks
    )
