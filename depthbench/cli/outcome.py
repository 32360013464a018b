"""Output of `depthbench run` before and after training."""

import json
import os
from collections.abc import Mapping
from typing import Any

import typer
from rich.console import Console

from depthbench.cli.long_table import LongTable
from depthbench.cli.tables import first_names, how_many, summary_table
from depthbench.cli.terminal import draw_report, err, no_report, page_line
from depthbench.console import say
from depthbench.execution.plan import Plan
from depthbench.store.mirror import shown
from depthbench.store.record import FINISHED, Record
from depthbench.store.results import read_runs
from depthbench.study.model import Study
from depthbench.text import shell
from depthbench.training.settings import Recipe

MAIN_KEYS = (
    "optimizer",
    "lr",
    "weight_decay",
    "schedule",
    "warmup",
)  # of a recipe, which its line always has


def announcement(plan: Plan) -> list[str]:
    """Return the lines that announce a plan."""
    total, left = len(plan.todo) + len(plan.finished), len(plan.todo)
    shortest, longest = plan.study.lengths()
    steps = (
        f"{shortest} step{'s'[: longest > 1]}" if shortest == longest else f"{shortest} to {longest} steps"
    )
    runs = f"{plan.study.name}: {total} run{'s'[: total > 1]} of {steps} on {plan.study.data.name}"
    how = how_many(min(plan.jobs, left), plan.threads)
    if plan.backend.is_elsewhere and plan.execution.jobs is None:  # the cluster decides
        how = f"{plan.threads} thread{'s'[: plan.threads > 1]} each"
    work = f"{left} to do on {plan.device} ({how})" if left else "nothing to do"
    lines = [f"{runs}, {len(plan.finished)} already done, {work}", f"results: {plan.store.location}"]
    if skipped := plan.data.skipped:
        lines.append(
            f"left out {len(skipped)} unreadable image{'s'[: len(skipped) > 1]}: {first_names(skipped)}"
        )
    return [*lines, *plan.notes]


def recipe_line(study: Study) -> str:
    """Describe the recipe of a resolved study in one line: its main keys, and others that are not defaults.

    Then follow, for each network with its own recipe or batch size, the keys that it changes, for each
    network of a plug-in, its options, and the values of a sweep."""
    recipe = study.recipe.model_dump()
    defaults, apart = Recipe().model_dump(), ("steps", "epochs", "batch_size")
    shown = {key: recipe[key] for key in MAIN_KEYS}
    shown |= {key: value for key, value in recipe.items() if value != defaults[key] and key not in apart}
    line = f"recipe: {study.steps} steps of {recipe['batch_size']} {study.data.noun}, {_pairs(shown)}"
    swept: dict[str, list[Any]] = {}
    for network in study.networks():
        own = study.recipe_of(network).model_dump()
        normalisation = study.data_of(network).normalisation
        if normalisation != study.data.normalisation:
            own["normalisation"] = normalisation
        values = study.swept_values(network)
        for full, value in values.items():
            swept.setdefault(full, []).append(value)
            own.pop(full.removeprefix("recipe."), None)
        if changed := {key: value for key, value in own.items() if value != recipe.get(key)}:
            line += f"; {network}: {_pairs(changed)}"
        if own_options := study.family(network).own.defaults | study.options_of(network).own:
            line += f"; options of {network}: {_pairs(own_options)}"
    for full, each in swept.items():
        line += f"; swept: {full} = {', '.join(map(str, dict.fromkeys(each)))}"
    return line


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in values.items()
    )


def planned_rows(plan: Plan) -> list[dict[str, Any]]:
    """Return a row for each run of the plan, finished or not."""
    rows = []
    for status, runs in (("to do", plan.todo), ("done", plan.finished)):
        for run in runs:
            row = {"run_id": run.run_id, "network": run.network, "depth": run.depth, "seed": run.seed}
            rows.append(row | {"status": status, "steps": run.steps})
    return sorted(rows, key=lambda row: (row["depth"], row["network"], row["seed"]))


def finish(
    plan: Plan, console: Console, ended: Mapping[str, Record], *, as_json: bool, draws: bool = True
) -> None:
    """Write the report, if `draws`, and print the results. `ended`: the record of each run that ended.

    Exits with code 1 if a run failed or diverged unexpectedly."""
    wanted = {run.run_id for run in (*plan.todo, *plan.finished)}
    rows = [row for row in read_runs(plan.store.path) if row["run_id"] in wanted]
    for row in rows:
        if (record := ended.get(row["run_id"])) is not None:  # on a full disk, the stored record is older
            row |= {"status": record.status, "reason": record.reason}
    page, without = None, no_report(plan.store.path)
    if plan.execution.shard is not None:
        without = _other_shards(plan)
    elif not any(row["status"] in FINISHED for row in rows):
        without = "none, because no run has finished"
    elif draws:
        page = draw_report(console, plan.store.path)
    if as_json:
        outcome = {
            "study": plan.study.name,
            "results": str(plan.store.location),
            "report": page and str(page),
        }
        print(json.dumps(outcome | {"runs": rows}, indent=1))
    else:
        if rows:
            console.print(LongTable(summary_table(rows, plan.study.name)))
        say(console, f"report: {page_line(page) if page else without}")
    failures = _failures(plan, rows, ended)
    if failures:
        say(err, _failure_line(plan, failures, len(wanted)))
        raise typer.Exit(1)


def _other_shards(plan: Plan) -> str:
    """Return the line that a shard prints instead of a report: how many runs of the study are left."""
    finished = {row["run_id"] for row in read_runs(plan.store.path) if row["status"] in FINISHED}
    study = {run.run_id for run in plan.study.runs()}
    left = len(study - finished)
    runs = (
        f"{left} of the study's {len(study)} runs are left" if left else "all runs of the study have finished"
    )
    command = shell("depthbench", "report", plan.store.location)
    return f"none, because this is a shard ({runs}; `{command}` draws it)"


def _failures(plan: Plan, rows: list[dict[str, Any]], ended: Mapping[str, Record]) -> list[dict[str, Any]]:
    """Return a row for each run without the result that the study expects, stored or not."""
    may_diverge = set(plan.study.may_diverge)
    failures = [
        row
        for row in rows
        if row["status"] != "done" and not (row["status"] == "diverged" and row["network"] in may_diverge)
    ]
    stored = {row["run_id"] for row in rows}
    missing = sorted(run.run_id for run in (*plan.todo, *plan.finished) if run.run_id not in stored)
    for run_id in missing:
        record = ended.get(run_id)
        has_failed = record is not None and not record.is_finished
        status, reason = (record.status, record.reason) if record and has_failed else ("not stored", None)
        failures.append({"run_id": run_id, "status": status, "reason": reason})
    return failures


def _failure_line(plan: Plan, failures: list[dict[str, Any]], total: int) -> str:
    first = failures[0]
    whose = "" if len({row.get("reason") for row in failures}) == 1 else f"{first['run_id']}: "
    reason = f" ({whose}{first['reason']})" if first.get("reason") else ""
    trace = plan.store.path / "runs" / first["run_id"] / "error.txt"
    where = f"; see {shown(trace)}" if os.path.exists(trace) else ""
    runs = f"{len(failures)} of {total} runs"
    statuses = {row["status"] for row in failures}
    if statuses == {"not stored"}:
        where = "; rerun this command to train them"
    if len(statuses) == 1:
        return f"{runs} {statuses.pop()}: {first_names([row['run_id'] for row in failures])}{reason}{where}"
    names = first_names([f"{row['run_id']} {row['status']}" for row in failures])
    return f"{runs} did not succeed: {names}{reason}{where}"
