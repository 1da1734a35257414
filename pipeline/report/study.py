"""All that the report is made from, and what follows from it."""

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from pandas import DataFrame, Series

from pipeline.analysis.beginnings import along_start, late_start, weight_norms
from pipeline.analysis.comparison import compare_arms
from pipeline.analysis.diagnosis import diagnose
from pipeline.analysis.evaluation import Evaluation
from pipeline.analysis.statistics import Comparison, compare
from pipeline.analysis.timing import Timing, kind_of
from pipeline.data.preprocessing import DatasetCard
from pipeline.network.ensemble import TrainingResult
from pipeline.params import Params
from pipeline.report.wording import lower


@dataclass(frozen=True)
class Study:
    """All that the report is made from."""

    params: Params
    card: DatasetCard
    results: Mapping[str, TrainingResult]  # by arm
    evaluations: Mapping[str, Evaluation]  # by arm
    path: TrainingResult  # the networks of the lambda path
    gradients: Mapping[str, DataFrame]  # by arm, each network's norms of its first gradients, see `beginnings`
    timing: Timing
    versions: Mapping[str, str]  # of the packages that computed the results

    @property
    def titles(self) -> dict[str, str]:
        """The title of each arm."""
        return {arm: settings.title for arm, settings in self.params.arms.items()}

    @property
    def names(self) -> dict[str, str]:
        """The title of each arm as it stands before a noun: "the baseline networks"."""
        return {arm: lower(title) for arm, title in self.titles.items()}

    @property
    def reference(self) -> str:
        """The arm that the others are compared with."""
        return self.params.reference

    @property
    def with_batchnorm(self) -> str | None:
        """The arm of section 5: it has batch normalisation, and the reference goes without."""
        return self._first_with(0, self.params.arms)

    @property
    def with_l2(self) -> str | None:
        """The arm of section 6: it has the L2 penalty, and the reference goes without."""
        return self._first_with(1, [arm for arm in self.params.arms if arm != self.with_batchnorm])

    @property
    def in_full(self) -> dict[str, str]:
        """The titles of the arms with a section of their own; all others share an appendix."""
        arms = (self.reference, self.with_batchnorm, self.with_l2)
        return {arm: self.titles[arm] for arm in arms if arm is not None}

    @property
    def in_brief(self) -> dict[str, str]:
        """The titles of the other arms."""
        return {arm: title for arm, title in self.titles.items() if arm not in self.in_full}

    @functools.cached_property
    def networks(self) -> DataFrame:
        """What is known of each network, a row each, by arm and its number within the arm.

        ``seconds`` is how long it would train alone, ``gap`` train minus validation accuracy. By layer: ``A{l}``
        is the 99th percentile of the activations, ``W{l}`` the norm of the weights, ``along_W{l}`` how much of it lies
        along the start. ``best_step`` and ``stop_reason`` are the result's; the other columns are those of
        :func:`diagnose`.
        """
        tables = {}
        for arm, settings in self.params.arms.items():
            result, evaluation = self.results[arm], self.evaluations[arm]
            kind, every = kind_of(settings.use_batchnorm), self.params.training.evaluate_every
            columns = {
                "gap": evaluation.accuracies["train"] - evaluation.accuracies["validation"],
                "best_step": result.best_step,
                "stop_reason": result.stop_reason,
                "seconds": [self.timing.seconds_alone(kind, steps, every) for steps in result.steps],
                **evaluation.activations,
            }
            of_layers = weight_norms(result.parameters), along_start(result).add_prefix("along_")
            tables[arm] = diagnose(result, evaluation).join([DataFrame(columns), *of_layers])
        return pd.concat(tables, names=["arm"])

    @functools.cached_property
    def headlines(self) -> DataFrame:
        """The row of each arm's headline model, by arm."""
        return self.networks.loc[[(arm, self.evaluations[arm].headline) for arm in self.params.arms]].droplevel(1)

    @functools.cached_property
    def comparisons(self) -> dict[str, dict[str, Comparison]]:
        """Each other arm compared with the reference, by quantity."""
        measured = {arm: (self.results[arm], self.evaluations[arm]) for arm in self.params.arms}
        theirs = measured.pop(self.reference)
        return {arm: compare_arms(*ours, *theirs) for arm, ours in measured.items()}

    @functools.cached_property
    def late_starts(self) -> DataFrame:
        """Whether the reference's networks with a small first gradient learn late, layer by layer."""
        networks, gradients = self.networks.loc[self.reference], self.gradients[self.reference]
        stayed = ~networks["diverged"]
        return late_start(gradients[stayed], networks["half_cost_steps"][stayed])

    def headline(self, arm: str) -> "Series[Any]":
        """Return the row of an arm's headline model."""
        return self.headlines.T[arm]  # .loc[arm], which type checkers take for a table

    def compare(self, arm: str, column: str) -> Comparison:
        """Compare an arm with the reference in a column of the networks, seed by seed."""
        values = self.networks[column]
        return compare(values[arm], values[self.reference], self.results[arm].seeds)

    def step_times(self, arm: str) -> "Series[float]":
        """Return microseconds a step of one network alone, a value per round."""
        return 1e6 * Series(self.timing.seconds_per_step[kind_of(self.params.arms[arm].use_batchnorm)])

    def by_arm(self, said: Mapping[str, str]) -> str:
        """Join texts, each after the title of its arm."""
        return "; ".join(f"{self.titles[arm]} {text}" for arm, text in said.items())

    def _first_with(self, trait: int, arms: Iterable[str]) -> str | None:
        """Return the first arm with a trait that the reference lacks, if possible one that is like it otherwise."""
        traits = {arm: (settings.use_batchnorm, settings.l2 > 0) for arm, settings in self.params.arms.items()}
        theirs, other = traits[self.reference], 1 - trait
        found = [arm for arm in arms if traits[arm][trait] > theirs[trait]]
        return min(found, key=lambda arm: traits[arm][other] != theirs[other], default=None)
