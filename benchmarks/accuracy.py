"""Measure how accurate each arm becomes, and how long it trains, with other batches and more frequent checks.

``python -m benchmarks.accuracy`` trains the arms of ``params.yaml`` on the split of the last run in about ten minutes,
and writes its table into ``docs/experiments.md``. Accuracies are of the validation set: the test set chooses nothing.
"""

import itertools
import re
import time
from pathlib import Path

import torch

from pipeline import artifacts
from pipeline.network.training import train
from pipeline.params import load_params
from stages import PARAMS, examples
from stages.progress import each

SETTINGS = tuple(itertools.product((256, 512), (50, 20)))  # batch size, steps between two validation checks
PAGE = Path("docs/experiments.md")


def main() -> None:
    """Train every arm with every setting, one after the other, and put the table into the page."""
    params = load_params(PARAMS)
    training = params.training
    torch.set_num_threads(training.usable_threads)
    (X, Y), validation = examples("train"), examples("validation")
    lines = [
        "| Batch, check every | " + " | ".join(f"{arm.title} (seconds)" for arm in params.arms.values()) + " |",
        "| --- | " + " | ".join("---:" for _ in params.arms) + " |",
    ]
    for batch_size, evaluate_every in SETTINGS:
        cells = []
        for arm in each(f"accuracy: {batch_size}, {evaluate_every}", list(params.arms.values()), "arms"):
            start = time.perf_counter()
            result = train(
                X,
                Y,
                [len(X), *params.network.layers],
                seeds=training.seeds,
                use_batchnorm=arm.use_batchnorm,
                l2=arm.l2,
                validation=validation,
                **training.settings() | {"batch_size": batch_size, "evaluate_every": evaluate_every},
            )
            accuracies = result.at_best(result.validation_accuracies)
            seconds = time.perf_counter() - start
            cells.append(f"{accuracies.mean():.2f} ± {accuracies.std():.2f} ({seconds:.0f})")
        lines.append(f"| {batch_size}, {evaluate_every} | " + " | ".join(cells) + " |")
        print(lines[-1], flush=True)
    page = PAGE.read_text(encoding="utf-8")
    table = "\n".join(lines)
    page = re.sub(r"(?s)(<!-- accuracy -->\n).*?(\n<!-- end -->)", lambda mark: mark[1] + table + mark[2], page)
    artifacts.write_bytes(PAGE, page.encode())


if __name__ == "__main__":
    main()
