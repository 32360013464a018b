"""The settings that all runs of one results directory share."""

from collections.abc import Mapping
from typing import Any

from depthbench.data.settings import NOT_IN_RUN_ID
from depthbench.study.model import Shared


def shared_settings(study: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that all runs of a study.toml share: dotted key -> value.

    Keys without a value are left out. A key that an older study.toml does not know has its default. For
    runs that `depthbench.watch` recorded, only stored settings are returned."""
    defaults: dict[str, Any] = Shared().model_dump(mode="json")
    if "watched" in study:
        defaults = {name: {} for name in defaults}
    return {
        f"{section}.{key}": value
        for section in Shared.model_fields
        for key, value in (defaults[section] | study.get(section, {})).items()
        if value is not None and not (section == "data" and key in NOT_IN_RUN_ID)
    }


def conflicts(stored: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return the differences that keep the runs of two study.toml tables from sharing a directory.

    For example "recipe.lr was 0.1 and is now 0.5". Depths, seeds, networks and variants may differ, but
    not variants of one name, except in their baselines, which change no run."""
    return [f"{key} was {there} and is now {here}" for key, there, here in differences(stored, new)]


def differences(stored: Mapping[str, Any], new: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Return each difference of `conflicts` as (what differs, its stored value, its new value)."""
    there, here = shared_settings(stored), shared_settings(new)
    for table in ("variants", "watched"):
        for name in set(new.get(table, {})) & set(stored.get(table, {})):
            for settings, of_study in ((there, stored), (here, new)):
                own = of_study[table][name]
                settings[f"{table}.{name}"] = {key: own[key] for key in own if key != "baseline"}
    if ("watched" in stored) != ("watched" in new):
        there_by, here_by = ("watch" if "watched" in table else "run" for table in (stored, new))
        return [("recorded by", there_by, here_by)]
    different = [
        (key, there.get(key, "unset"), here.get(key, "unset"))
        for key in sorted(here | there)
        if here.get(key) != there.get(key)
    ]
    images_there, images_here = stored.get("data_hash", ""), new.get("data_hash", "")
    if not different and images_there and images_there != images_here:
        return [("the hash of the images", images_there[:12], images_here[:12])]
    return different
