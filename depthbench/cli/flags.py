"""Translate flags into a study to start from and overrides of its file."""

from typing import Any

from depthbench.data import DATASETS, SequenceEntry
from depthbench.data.kinds import is_text
from depthbench.data.settings import FOR_SEQUENCES
from depthbench.errors import BadInput, nearest
from depthbench.paths import expand
from depthbench.study.file import merge, name_after, parse_setting, parse_value
from depthbench.study.grid import AUTO
from depthbench.study.model import DEFAULT_STUDY

MOST_SEEDS = 10_000
STUDY_OF_TEXT = "quick-text"
"""The study to start from if --data names text and no study is given."""
EXAMPLES = {
    "--depths": "--depths 20,56,110",
    "--networks": "--networks plain,resnet",
    "NETWORKS": "plain,resnet",  # the argument of `frontier`
    "--seeds": "--seeds 0,1,2",
}


def parse_list(flag: str, text: str | None, kind: type) -> list | None:
    """Parse `"20,56"` as [20, 56], each value once. A comma may follow the last. Raises BadInput."""
    if text is None:
        return None
    example = EXAMPLES[flag]
    if not text.strip(" ,"):
        raise BadInput(f"{flag} has no value: write e.g. {example}")
    parts = [part.strip() for part in text.strip().removesuffix(",").split(",")]
    if "" in parts:
        raise BadInput(f"{flag} {text}: a value is missing before or after a comma; write e.g. {example}")
    values = []
    for part in parts:
        try:
            value = kind(part)
        except ValueError:
            raise BadInput(f"{flag} {text}: {part!r} is not a whole number; write e.g. {example}") from None
        if value not in values:
            values.append(value)
    return values


def parse_depths(text: str | None) -> list[int] | str | None:
    """Parse a list of numbers, or AUTO. Raises BadInput, also for AUTO among numbers."""
    parts = [part.strip() for part in (text or "").split(",")]
    if text is None or AUTO not in parts:
        return parse_list("--depths", text, int)
    if len(parts) > 1:
        raise BadInput(f"--depths {text}: auto chooses all depths; write --depths {AUTO}, or numbers only")
    return AUTO


def parse_seeds(text: str | None) -> list[int] | None:
    """Parse a count (`3` means 0, 1, 2) or, with a comma, a list. Raises BadInput."""
    values = parse_list("--seeds", text, int)
    if text is None or values is None or "," in text:
        return values
    if values[0] < 0:
        raise BadInput(f"--seeds {text}: the number of seeds is at least 1; write e.g. --seeds 3")
    if not 1 <= values[0] <= MOST_SEEDS:
        raise BadInput(
            f"--seeds {text}: the number of seeds is 1 to {MOST_SEEDS}; for seed {values[0]} alone write "
            f"--seeds {text},"
        )
    return list(range(values[0]))


def parse_jobs(text: str) -> int | None:
    """Parse a number of runs at once, None for `auto`. Raises BadInput."""
    if text == "auto":
        return None
    if text.isdigit() and int(text) >= 1:
        return int(text)
    raise BadInput(f"--jobs {text}: use auto or a whole number of at least 1")


def parse_shard(text: str | None) -> tuple[int, int] | None:
    """Parse `"2/8"` as (2, 8). Raises BadInput. The settings check the range."""
    if text is None:
        return None
    index, slash, count = (part.strip() for part in text.partition("/"))
    if slash and index.isdecimal() and count.isdecimal():
        return int(index), int(count)
    raise BadInput(f"--shard {text}: write the number of the shard and of all shards, e.g. --shard 2/8")


def parse_pairs(flag: str, texts: list[str]) -> tuple[tuple[str, str], ...]:
    """Parse `["partition=gpu"]` as (("partition", "gpu"),). Raises BadInput."""
    pairs = []
    for text in texts:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not key or not equals:
            raise BadInput(f"{flag} {text} is not of the form KEY=VALUE: write e.g. {flag} partition=gpu")
        pairs.append((key, value))
    return tuple(pairs)


def parse_sweep(texts: list[str]) -> dict[str, list[Any]]:
    """Parse `["lr=0.01,0.1", "norm=batch,none"]` as {"lr": [0.01, 0.1], "norm": ["batch", "none"]}.

    Brackets around the values, and quotes around words, can be left out. Raises BadInput."""
    found: dict[str, list[Any]] = {}
    for text in texts:
        key, equals, values = (part.strip() for part in text.partition("="))
        parts = [part.strip() for part in values.removeprefix("[").removesuffix("]").split(",")]
        if not key or not equals or "" in parts:
            raise BadInput(
                f"--sweep {text} is not of the form KEY=VALUE,VALUE: write e.g. --sweep lr=0.01,0.1"
            )
        if key in found:
            raise BadInput(f"--sweep {text}: {key} is swept twice; list all values once")
        found[key] = list(map(parse_value, parts))
    return found


def overrides(settings: list[str], **sections: dict[str, Any]) -> dict[str, Any]:
    """Return the given flags as tables of a study file. Flags take precedence over `--set`."""
    given: dict[str, Any] = {}
    for setting in settings:
        given = merge(given, parse_setting(setting))
    flags = {s: {k: v for k, v in table.items() if v is not None} for s, table in sections.items()}
    return merge(given, {section: table for section, table in flags.items() if table})


def choose_study(
    study: str | None, data: str | None, name: str | None, overrides: dict[str, Any]
) -> tuple[str | None, dict[str, Any]]:
    """Return the study to start from, and `overrides` with --data and --name added. Raises BadInput."""
    if data is not None:
        if data in DATASETS:
            table = {"name": data, "path": None}
        elif (folder := expand(data)).is_dir():
            table = {"name": folder.resolve().name or "folder", "path": str(folder)}
        elif folder.is_file() and is_text(folder):
            table = {"name": folder.stem, "path": str(folder)}
        elif "/" in data or "\\" in data:
            raise BadInput(
                f"--data {data}: no such folder or text file; name one, or a data set "
                "(`depthbench list data`)"
            )
        else:
            known = nearest(data, DATASETS, "data sets")
            raise BadInput(f"--data {data}: no such data set, folder or text file; {known}")
        # what a study says of its own data does not apply to others
        of_others = (
            "kind",
            *FOR_SEQUENCES,
            *(["image_size"] if "path" in table and not table["path"] else []),
        )
        table |= {key: None for key in of_others if key not in overrides.get("data", {})}
        overrides = merge(overrides, {"data": table})
    if name is not None:
        overrides = {**overrides, "name": name}
    if study is None and data in (None, "digits"):
        study = DEFAULT_STUDY
    elif study is None and data is not None and _is_of_sequences(data):
        study = STUDY_OF_TEXT
        overrides = {"name": name_after(overrides["data"]["name"]), **overrides}
    return study, overrides


def _is_of_sequences(data: str) -> bool:
    return isinstance(DATASETS[data], SequenceEntry) if data in DATASETS else is_text(expand(data))
