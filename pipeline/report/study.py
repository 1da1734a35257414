"""All that the report is made from, and what follows from it."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pandas import DataFrame
from torch import Tensor

from pipeline.analysis.beginnings import weight_norms
from pipeline.analysis.comparison import compare_arms
from pipeline.analysis.diagnosis import diagnose
from pipeline.analysis.evaluation import Evaluation
from pipeline.analysis.statistics import Comparison, compare
from pipeline.analysis.tables import results_table
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
        """The arm of section 6: it has the L2 norm, and the reference goes without."""
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
    def comparisons(self) -> dict[str, dict[str, Comparison]]:
        """Each other arm compared with the reference, by quantity."""
        measured = {arm: (self.results[arm], self.evaluations[arm]) for arm in self.params.arms}
        theirs = measured.pop(self.reference)
        return {arm: compare_arms(*ours, *theirs) for arm, ours in measured.items()}

    @functools.cached_property
    def headlines(self) -> DataFrame:
        """The results of each arm's headline model, and the mean of its networks, by arm."""
        return results_table(self.results, self.evaluations, self.comparisons).set_index("arm")

    @functools.cached_property
    def diagnoses(self) -> dict[str, DataFrame]:
        """How each network of each arm fared."""
        return {arm: diagnose(self.results[arm], self.evaluations[arm]) for arm in self.params.arms}

    @functools.cached_property
    def weight_norms(self) -> dict[str, DataFrame]:
        """The norms of each network's weights, layer by layer, by arm."""
        return {arm: weight_norms(result.parameters) for arm, result in self.results.items()}

    @property
    def gaps(self) -> dict[str, Tensor]:
        """Each network's train minus validation accuracy, in points, by arm."""
        accuracies = {arm: evaluation.accuracies for arm, evaluation in self.evaluations.items()}
        return {arm: each["train"] - each["validation"] for arm, each in accuracies.items()}

    def compare(self, arm: str, values: Mapping[str, ArrayLike]) -> Comparison:
        """Compare an arm with the reference in a value of each network, seed by seed."""
        return compare(values[arm], values[self.reference], self.results[arm].seeds)

    def headline(self, arm: str) -> int:
        """Return which network of an arm is its headline model."""
        return self.evaluations[arm].headline

    def kind(self, arm: str) -> str:
        """Return the kind of an arm's training step; those of one kind take the same time."""
        return kind_of(self.params.arms[arm].use_batchnorm)

    def step_times(self, arm: str) -> NDArray[np.float64]:
        """Return microseconds a step of one network alone, a value per round."""
        return 1e6 * np.array(self.timing.seconds_per_step[self.kind(arm)])

    def seconds_alone(self, arm: str) -> NDArray[np.float64]:
        """Return the seconds that each network of an arm would take to its stop if it trained alone."""
        every, kind = self.params.training.evaluate_every, self.kind(arm)
        return np.array([self.timing.seconds_alone(kind, steps, every) for steps in self.results[arm].steps])

    def by_arm(self, said: Mapping[str, str]) -> str:
        """Join texts, each after the title of its arm."""
        return "; ".join(f"{self.titles[arm]} {text}" for arm, text in said.items())

    def _first_with(self, trait: int, arms: Iterable[str]) -> str | None:
        """Return the first arm with a trait that the reference lacks, if possible one that is like it otherwise."""
        traits = {arm: (settings.use_batchnorm, settings.l2 > 0) for arm, settings in self.params.arms.items()}
        theirs = traits[self.reference]
        found = [arm for arm in arms if traits[arm][trait] > theirs[trait]]
        alike = [arm for arm in found if traits[arm][1 - trait] == theirs[1 - trait]]
        return next(iter(alike + found), None)
