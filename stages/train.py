"""Train one arm: the networks of all seeds, as one ensemble, or as one on each rank where several train."""

import argparse
import contextlib
import functools
import statistics
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch

from pipeline import artifacts
from pipeline.network import distributed
from pipeline.network.devices import take_device
from pipeline.network.ensemble import TrainingResult
from pipeline.params import Arm, Params
from pipeline.text import in_columns, in_lines, shown
from stages import MODELS, examples
from stages.launch import run_training
from stages.progress import training_shown

ENDS = {"no improvement": "stopped without a new low", "cap reached": "reached max_steps", "diverged": "diverged"}


def main(params: Params, name: str) -> None:
    arm = arm_of(params, name)
    seeds, label = params.training.seeds, f"train@{name}"
    result = train_ensemble(params, label, MODELS / name, seeds, use_batchnorm=arm.use_batchnorm, l2=arm.l2)
    if result is not None:
        _print_costs(result, label)


def arm_of(params: Params, name: str) -> Arm:
    """Find an arm by its name."""
    if name not in params.arms:
        raise ValueError(f"there is no arm {shown(repr(name))} in params.yaml, only {shown(', '.join(params.arms))}")
    return params.arms[name]


def networks_of(params: Params, name: str) -> int:
    """Count the networks of an arm."""
    arm_of(params, name)
    return len(params.training.seeds)


def train_ensemble(
    params: Params,
    label: str,
    folder: Path,
    seeds: Sequence[int],
    *,
    use_batchnorm: bool = False,
    l2: float | Sequence[float] = 0.0,
) -> TrainingResult | None:
    """Train an ensemble as ``params.yaml`` says, on all ranks, and write it into a folder; rank 0 returns it."""
    training = params.training
    device = take_device(training.device)
    with distributed.group() as ranks:
        torch.set_num_threads(ranks.threads(training.usable_threads))
        X, Y = examples("train", device)
        shown = training_shown(label, len(seeds), training.max_steps)
        if training.compile and ranks.rank == 0:
            print(in_lines(f"{label}: PyTorch compiles the training step first"), flush=True)
        with shown if ranks.rank == 0 else contextlib.nullcontext(lambda snapshot: None) as progress:
            result = ranks.train(
                X,
                Y,
                [len(X), *params.network.layers],
                seeds=seeds,
                use_batchnorm=use_batchnorm,
                l2=l2,
                validation=examples("validation", device),
                progress=progress,
                **training.settings(),
            )
        if result is not None:
            artifacts.write_record(folder, result)
            _say(result, label)
    return result


def _say(result: TrainingResult, label: str) -> None:
    for seed, reason, step in zip(result.seeds, result.stop_reason, result.steps, strict=True):
        if reason == "diverged":
            print(
                in_lines(f"{label}: seed {seed} diverged: its cost or weights were not finite at step {step}"),
                file=sys.stderr,
            )
    counts = Counter(result.stop_reason).items()
    ends = ", ".join(f"{count} of {len(result.seeds)} {ENDS[reason]}" for reason, count in counts)
    mean = f"{statistics.mean(result.steps):,.0f}"
    print(in_lines(f"{label}: mean {mean} step{'s' * (mean != '1')}; {ends}"))


def _print_costs(result: TrainingResult, label: str) -> None:
    """Print the headline model's costs as `L_layer_model` returns them: at every 100th step, penalty included."""
    k, costs = result.headline, [f"{step} {cost:.4f}" for step, cost in result.headline_costs.items()]
    with_penalty = " (with penalty)" if result.l2[k] else ""
    title = in_lines(f"{label}: headline model, seed {result.seeds[k]}: step and cost{with_penalty}")
    print("\n".join([title, *in_columns(costs)]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("arm", help="its name in params.yaml")
    name = parser.parse_args().arm
    run_training(functools.partial(main, name=name), lambda params: networks_of(params, name), f"train@{name}")
