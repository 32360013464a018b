"""The evidence behind a report: stored results, and their analyses, each computed when it is first used."""

import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext, redirect_stderr
from dataclasses import dataclass, fields
from functools import cached_property
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd

from depthbench.analysis import FINISHED
from depthbench.analysis.answers import Answer, answer, answer_at_best
from depthbench.analysis.causes import causes
from depthbench.analysis.chance import at_chance
from depthbench.analysis.choice import choose, incomparable_costs
from depthbench.analysis.classes import class_metrics, summarise_classes
from depthbench.analysis.comparison import UNKNOWN, cautions, differences, differing, join_studies, studies_of
from depthbench.analysis.deviations import baselines, deviations
from depthbench.analysis.frontier import Search, searched
from depthbench.analysis.layers import (
    by_layer,
    of_weighted_layers,
    summarise_responses,
    with_values,
    with_zeros_by_design,
)
from depthbench.analysis.logged import history_with_batch_errors, with_batch_errors
from depthbench.analysis.losses import final_losses
from depthbench.analysis.matching import match_twins
from depthbench.analysis.missing import missing_runs
from depthbench.analysis.reference import reproduction
from depthbench.analysis.robustness import summarise_robustness
from depthbench.analysis.sub_layers import of_blocks
from depthbench.analysis.summary import ERRORS, summarise
from depthbench.analysis.sweep import Swept, analyse
from depthbench.analysis.theory import measured_rates, theory
from depthbench.analysis.unmeasured import not_measured
from depthbench.analysis.verdict import Verdicts, judge, last_errors
from depthbench.data.settings import Data
from depthbench.probes import PROBES
from depthbench.report import sentences
from depthbench.report.settings import drop_defaults, settings_of
from depthbench.store.record import Record
from depthbench.store.results import (
    Results,
    Rows,
    join_predictions,
    join_results,
    load_coordinates,
    load_robustness,
    read_runs,
)
from depthbench.store.study_store import StudyStore
from depthbench.study.grid import requested_runs

OF_LOOPS = ("images", "data.", "recipe.", "options.", "evaluate.")
"""Settings that are unknown if another loop trained the runs."""
GRADIENTS = ("grad_norm_preact", "grad_norm_weight")


class _OnlyFields:
    """A dataclass pickled without its cached analyses. A process that draws computes those that it needs."""

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]


@dataclass(frozen=True)
class Evidence(_OnlyFields):
    """The results of one study."""

    results: Results
    """The stored tables. Tables without rows have all columns (see `with_columns`)."""
    study: Mapping[str, Any]
    """The content of study.toml."""
    path: Path | None = None
    """The results directory, from which further tables are loaded when they are first used."""
    rows: Rows = ()
    """The runs as `store.results.read_runs` returned them."""
    is_copy: bool = False
    """Whether this is a copy in a process that draws. Only the original reports unreadable tables."""

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"is_copy": True}

    @classmethod
    def load(cls, path: Path, rows: Rows | None = None, *, layers: bool = True) -> "Evidence":
        """Load the results directory `path`, or the runs in `rows`. Raises BadInput if it holds no results.

        Without `layers`, that table is empty."""
        study, rows = StudyStore(path).table(), read_runs(path) if rows is None else rows
        study = {"name": Path(path).resolve().name, "data": {}, "grid": {}} | study
        study["data"] = {"name": Data().name} | study["data"]
        runs, history, measured = join_results(path, with_batch_errors(rows), layers=layers)
        results = Results(runs, history_with_batch_errors(history, rows), measured)
        return cls(with_columns(results), study, path, rows)

    def prepare(self) -> None:
        """Compute what several figures show, so that the processes that draw them share it."""
        _ = self.gradients

    @cached_property
    def runs(self) -> pd.DataFrame:
        return self.results.runs

    @cached_property
    def history(self) -> pd.DataFrame:
        return self.results.history

    @cached_property
    def layers(self) -> pd.DataFrame:
        """The rows of weighted layers."""
        return of_weighted_layers(self.results.layers)

    @cached_property
    def blocks(self) -> pd.DataFrame:
        """The rows of layers and selected modules in blocks of transformers."""
        return of_blocks(self.results.layers, self.runs)

    @cached_property
    def about_probes(self) -> dict[str, str]:
        """Probe -> what it measures, from the runs or else from PROBES."""
        stored = {
            name: about for record in self.records for name, about in (record.execution.probes or {}).items()
        }
        return {name: entry.about for name, entry in PROBES.items()} | stored

    @cached_property
    def not_measured(self) -> pd.DataFrame:
        """What probes did not measure, and why: `analysis.unmeasured.not_measured`."""
        order = {network: place for place, network in enumerate(self.runs["network"].unique())}
        records = [record for record in self.records if record.network in order]
        records.sort(key=lambda record: (order[record.network], record.depth, record.seed))
        return not_measured(
            (record.network, record.depth, record.seed, record.execution.not_measured or {})
            for record in records
        )

    @cached_property
    def records(self) -> list[Record]:
        """Every readable run.json."""
        return StudyStore(self.path).records() if self.path else []

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """The predicted class of each test image (`store.results.load_predictions`)."""
        return self._load(join_predictions)

    @cached_property
    def corrupted_errors(self) -> pd.DataFrame:
        """Test errors on corrupted images (`store.results.load_robustness`)."""
        return self._load(load_robustness)

    @cached_property
    def coordinates(self) -> pd.DataFrame:
        """Activations in the first steps (`store.results.load_coordinates`)."""
        return self._load(load_coordinates)

    def _load(self, load: Callable[[Path, pd.DataFrame], pd.DataFrame]) -> pd.DataFrame:
        """Load a table of all runs. A copy prints no messages, because the original prints them."""
        if self.path is None:
            return pd.DataFrame()
        with redirect_stderr(StringIO()) if self.is_copy else nullcontext():
            return load(self.path, self.runs)

    @cached_property
    def summary(self) -> pd.DataFrame:
        return summarise(self.runs)

    @property
    def predicts(self) -> list[str]:
        """What the runs predict, e.g. `next characters`. Empty if they predict classes."""
        return sorted({each for each in self.runs.get("predicts", ()) if isinstance(each, str)})

    @cached_property
    def losses(self) -> pd.DataFrame:
        """Final losses of next-token prediction (`analysis.losses.final_losses`). Empty for other runs."""
        return final_losses(self.runs)

    @cached_property
    def missing(self) -> pd.DataFrame:
        """The runs of the study without final errors."""
        return missing_runs(requested_runs(self.study), self.runs)

    @cached_property
    def verdicts(self) -> dict[str, Verdicts]:
        """The verdicts on each of ERRORS."""
        margin = self.study.get("verdict", {}).get("margin")
        return {error: judge(self.runs, self.history, error, margin) for error in ERRORS}

    @cached_property
    def sweeps(self) -> list[Swept]:
        """The sweeps of the study. Empty if it has none with two finished values."""
        if not any(variant.get("swept") for variant in self.study.get("variants", {}).values()):
            return []
        errors, validation = (
            last_errors(self.runs, self.history, name) if name in self.history else None
            for name in ("train_error_eval", "val_error")
        )
        margin = self.verdicts["train_error_eval"].margin
        return [] if errors is None else analyse(errors, validation, self.study, margin)

    @cached_property
    def deviations(self) -> pd.DataFrame:
        """The errors of variants minus those of their baselines (`analysis.deviations.deviations`)."""
        return deviations(self.runs, self.history, self.study)

    @cached_property
    def causes(self) -> pd.DataFrame:
        """Symptoms and outcome of each intervention (`analysis.causes.causes`). Empty without variants."""
        if not baselines(self.study) or "train_error_eval" not in self.history:
            return pd.DataFrame()
        errors = last_errors(self.runs, self.history, "train_error_eval")
        return causes(self.runs, self.layers, errors, answers=self.answers, study=self.study)

    @cached_property
    def untrained(self) -> list[str]:
        """The networks at chance at every depth."""
        return at_chance(self.summary, self.runs)

    @cached_property
    def answers(self) -> list[Answer]:
        """The answer on the train error for each network and each pair of twins."""
        return answer(self.verdicts["train_error_eval"], self.untrained)

    @cached_property
    def leading_answers(self) -> list[Answer]:
        """The answers that the report opens with: those at the best values, if the study has a sweep."""
        margin = self.verdicts["train_error_eval"].margin
        at_best = [each for swept in self.sweeps for each in answer_at_best(swept.verdicts, margin)]
        return at_best or self.answers

    @cached_property
    def is_trained(self) -> bool:
        """Whether the study trains. If it only measures gradients, no network learns or diverges."""
        none_trains = len(self.untrained) == self.summary["network"].nunique()
        return (
            not none_trains
            or self.rates.empty
            or self.search is not None
            or bool(self.summary["diverged"].any())
        )

    @cached_property
    def twins(self) -> pd.DataFrame:
        """Pairs of twins, and whether they match."""
        return match_twins(self.runs, self.history)

    @cached_property
    def choice(self) -> pd.DataFrame:
        """Error and cost of each network and depth, and the recommendations."""
        return choose(self.runs)

    @cached_property
    def incomparable_costs(self) -> dict[str, list[str]]:
        return incomparable_costs(self.runs)

    @cached_property
    def search(self) -> Search | None:
        """The frontier that a search measured, if this study is a search."""
        return searched(self.runs)

    @cached_property
    def reproduction(self) -> pd.DataFrame:
        """The study's errors next to published ones."""
        return reproduction(self.runs)

    @cached_property
    def rates(self) -> pd.DataFrame:
        """Measured and predicted rates of the gradient at initialisation."""
        return measured_rates(self.runs, self.layers)

    @cached_property
    def predicted(self) -> pd.DataFrame:
        """Predictions for the gradient at initialisation (`analysis.theory.theory`)."""
        return theory(self.runs, self.layers[self.layers["step"] == 0])

    @cached_property
    def gradients(self) -> dict[str, pd.DataFrame]:
        """Gradient norms by layer over the seeds (`analysis.layers.by_layer` with by_design), for each probe
        with values, which may all be NaN."""
        layers = self.layers
        measured = [name for name in GRADIENTS if len(with_values(layers, name))]
        return {
            name: with_zeros_by_design(by_layer(layers, name), layers, name, self.runs) for name in measured
        }

    @cached_property
    def responses(self) -> pd.DataFrame:
        """Layer responses of finished runs."""
        finished = self.runs.loc[self.runs["status"].isin(FINISHED), "run_id"]
        return summarise_responses(self.layers[self.layers["run_id"].isin(finished)])

    @cached_property
    def classes(self) -> pd.DataFrame:
        """Macro F1, and the recall of each class."""
        return summarise_classes(class_metrics(self.predictions))

    @cached_property
    def robustness(self) -> pd.DataFrame:
        """Errors on corrupted images over the seeds."""
        return summarise_robustness(self.corrupted_errors)


@dataclass(frozen=True)
class Comparison(_OnlyFields):
    """The results of several studies. The first is the baseline that the others are compared with."""

    studies: Mapping[str, Evidence]
    """Label -> the study."""

    @cached_property
    def joined(self) -> Results:
        """The tables of all studies as one, with a column `study`."""
        return join_studies({label: evidence.results for label, evidence in self.studies.items()})

    @cached_property
    def labels(self) -> list[str]:
        """The labels of the studies that have runs, the baseline first."""
        return studies_of(self.joined)

    @cached_property
    def settings(self) -> pd.DataFrame:
        """Settings that differ between the studies."""
        settings = {label: settings_of(each.study, each.records) for label, each in self.studies.items()}
        drop_defaults(settings, {label: each.runs for label, each in self.studies.items()})
        keys = dict.fromkeys(key for each in settings.values() for key in each if key.startswith(OF_LOOPS))
        for label, each in self.studies.items():
            if "watched" in each.study:
                settings[label] = dict.fromkeys(keys, UNKNOWN) | settings[label]
        return differing(settings)

    @cached_property
    def other_images(self) -> list[str]:
        """The studies whose images differ from those of the baseline."""
        hashes = {label: each.study.get("data_hash") for label, each in self.studies.items()}
        baseline, *_ = hashes.values()
        return [label for label, data_hash in hashes.items() if data_hash != baseline]

    @cached_property
    def unknown_images(self) -> list[str]:
        """The studies of `other_images` whose images are unknown, so that they may be the same."""
        hashes = {label: each.study.get("data_hash") for label, each in self.studies.items()}
        baseline, *_ = hashes.values()
        return [label for label in self.other_images if not (baseline and hashes[label])]

    @cached_property
    def differences(self) -> pd.DataFrame:
        """Errors of each study minus those of the baseline, seed by seed; untested if the images differ."""
        table = differences(self.joined)
        table.loc[table["study"].isin(self.other_images), ["p", "p_holm"]] = math.nan
        return table

    @cached_property
    def cautions(self) -> list[str]:
        """What must be known before the errors are compared."""
        copied = sentences.copies(self.differences, next(iter(self.studies)), self.other_images)
        return cautions(self.settings, self.joined.runs) + copied

    @cached_property
    def summaries(self) -> dict[str, pd.DataFrame]:
        """The summary of each study, with the networks named as in the comparison."""
        runs = self.joined.runs
        return {label: summarise(runs[runs["study"] == label]) for label in self.labels}

    @cached_property
    def summary(self) -> pd.DataFrame:
        """The summaries of all studies as one, with networks named `STUDY: NETWORK`."""
        parts = [
            summarise(runs.assign(network=f"{label}: " + runs["own_network"]))
            for label, runs in self.joined.runs.groupby("study", sort=False)
        ]
        return pd.concat(parts, ignore_index=True)


def with_columns(results: Results) -> Results:
    """Give tables without rows the columns that every stored table has."""
    keys = ["run_id", "network", "depth", "seed", "step"]
    columns = ([*keys, "train_error", "train_error_eval", "test_error"], [*keys, "layer", "name", "stage"])
    frames = [
        pd.DataFrame(columns=names) if frame.empty else frame
        for frame, names in zip(results[1:], columns, strict=True)
    ]
    return Results(results.runs, *frames)
