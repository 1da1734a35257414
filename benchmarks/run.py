"""Measure a training step of one network beside peers.

``python -m benchmarks.run`` prints a table and writes it, ``results.json`` and ``cost.png`` beside this file;
``--device cuda`` prints the table of a GPU and writes nothing.
"""

import argparse
import itertools
import platform
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from benchmarks import EXAMPLES, LAYERS, floors, peers, plot, ranks
from benchmarks.measure import Steps, line, microseconds
from benchmarks.rates import best_product_rate
from pipeline import artifacts
from pipeline.network.precision import onednn_is_better
from stages.progress import each, working

BATCH_SIZES = (64, 256, 512)
SETTINGS = tuple(itertools.product((False, True), BATCH_SIZES))  # with batch norm or not
ENSEMBLES = (1, 16, 32)
NETWORKS = (1, 4, 16, 64)
BATCHES = (32, 128, 512, 2048)
WIDTHS = (20, 100, 500, 2000)
FOLDER = Path(__file__).parent
PAGE = FOLDER / "README.md"
CPUINFO = Path("/proc/cpuinfo")


def main() -> None:
    """Run everything; a few minutes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each; the median counts")
    parser.add_argument("--seconds", type=float, default=0.08, help="length of a turn, about")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="cuda: print the table of a GPU")
    options = parser.parse_args()
    if options.device == "cuda":
        with working("bench: on the GPU"):
            text = floors.measure(floors.gpu(), options.rounds, options.seconds)
        print(text)
        return
    torch.set_num_threads(options.threads)
    data = peers.Data.random(EXAMPLES)
    with threadpool_limits(options.threads), ranks.started(EXAMPLES) as processes:
        with working("bench: large products"):
            rates_before = best_product_rate(options.rounds)
        table = {
            f"batch {batch_size}{', bn' * use_batchnorm}": compare(data, processes, batch_size, use_batchnorm, options)
            for use_batchnorm, batch_size in each("bench: peers", SETTINGS, "settings")
        }
        costs = {
            "networks": {n: cost(data, LAYERS, n, 512, options) for n in each("bench: networks", NETWORKS, "sizes")},
            "batch": {size: cost(data, LAYERS, 16, size, options) for size in each("bench: batch", BATCHES, "sizes")},
            "width": {
                units: cost(data, [784, units, *LAYERS[2:]], 4, 512, options)
                for units in each("bench: width", WIDTHS, "sizes")
            },
        }
        with working("bench: large products again"):
            rates = {name: max(rate, rates_before[name]) for name, rate in best_product_rate(options.rounds).items()}
    shares = {
        name: {
            column: peers.product_operations(LAYERS, _batch_size(name)) / microseconds / 1e3 / max(rates.values())
            for column, microseconds in row.items()
            if column.startswith(("engine", "compiled", "two", "products"))
        }
        for name, row in table.items()
    }
    results = {
        "threads": options.threads,
        "rounds": options.rounds,
        "machine": machine(options.threads),
        "gflops_of_a_large_product": rates,
        "oneDNN_is_better": onednn_is_better(options.threads),
        "microseconds_a_step_of_one_network": table,
        "share_of_the_best_rate": shares,
        "microseconds_by": costs,
    }
    artifacts.write_json(FOLDER / "results.json", _rounded(results))
    artifacts.write_bytes(FOLDER / "cost.png", plot.costs(costs))
    text = "\n".join([as_text(table, shares, rates, options.rounds), results["machine"]])
    page = PAGE.read_text(encoding="utf-8")
    page = re.sub(r"(?s)(```text\n).*?(\n```)", lambda block: block[1] + text + block[2], page)
    artifacts.write_bytes(PAGE, page.encode())
    print(text)


def machine(threads: int) -> str:
    """Say what processor and libraries are measured."""
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "jax", "scikit-learn"))
    vectors = torch.backends.cpu.get_cpu_capability()
    return f"{processor()}, {vectors}, {threads} threads; Python {platform.python_version()}, {libraries}"


def processor() -> str:
    """Name the processor as Linux does: its model name, its family and the number of its model."""
    facts = dict(re.findall(r"(?m)^([^\t\n]+)\t*: (.+)$", CPUINFO.read_text())) if CPUINFO.exists() else {}
    named = ", ".join(f"{name} {facts[name]}" for name in ("cpu family", "model") if name in facts)
    return f"{facts['model name']} ({named})" if "model name" in facts else platform.processor() or platform.machine()


def compare(
    data: peers.Data,
    processes: Sequence[ranks.Rank],
    batch_size: int,
    use_batchnorm: bool,
    options: argparse.Namespace,
) -> dict[str, float]:
    """Return every peer's microseconds a step of one network, all measured in turns."""
    setting = (data, LAYERS)
    take_steps = peers.compiled_steps(*setting, batch_size, use_batchnorm)
    entrants: dict[str, tuple[int, Steps]] = {
        **{f"engine x{n}": (n, peers.engine(*setting, n, use_batchnorm)) for n in ENSEMBLES},
        **{
            f"compiled x{n}": (n, peers.compiled_engine(*setting, range(n), use_batchnorm, take_steps))
            for n in ENSEMBLES
        },
        **{
            f"two processes x{n}": (n, ranks.compiled_engine(processes, LAYERS, n, batch_size, use_batchnorm))
            for n in ENSEMBLES[1:]
        },
        "eager autograd": (1, peers.eager(*setting, use_batchnorm)),
        "vmap(grad) x16": (16, peers.vmap_grad(*setting, 16, use_batchnorm)),
        **{f"JAX x{n}": (n, peers.jax_scan(*setting, n, use_batchnorm)) for n in ENSEMBLES},
        **{f"products x{n}": (n, peers.bare_products(LAYERS, n, batch_size)) for n in ENSEMBLES},
    }
    if not use_batchnorm:  # scikit-learn has none
        entrants["scikit-learn"] = (1, peers.scikit_learn(*setting))
    return microseconds(entrants, batch_size, examples=EXAMPLES, rounds=options.rounds, seconds=options.seconds)


def cost(
    data: peers.Data, layers: list[int], networks: int, batch_size: int, options: argparse.Namespace
) -> dict[str, float]:
    """Return the engine's and JAX's microseconds a step of one network, and those of the bare products."""
    entrants = {
        "engine": (networks, peers.engine(data, layers, networks, False)),
        "JAX": (networks, peers.jax_scan(data, layers, networks, False)),
        "products": (networks, peers.bare_products(layers, networks, batch_size)),
    }
    return microseconds(entrants, batch_size, examples=EXAMPLES, rounds=options.rounds, seconds=options.seconds)


def as_text(
    table: Mapping[str, Mapping[str, float]],
    shares: Mapping[str, Mapping[str, float]],
    rates: Mapping[str, float],
    rounds: int,
) -> str:
    """Set the medians as a table, a peer a line, and the ratios that matter."""
    width = max(map(len, table)) + 2
    lines = [f"Microseconds a training step of one network, medians of {rounds} rounds", line("", table, width)]
    for name in next(iter(table.values())):
        lines.append(line(name, [f"{row[name]:.0f}" if name in row else "-" for row in table.values()], width))
    for label, ours, theirs in (
        ("two processes / JAX, x16", "two processes x16", "JAX x16"),
        ("compiled / JAX, x16", "compiled x16", "JAX x16"),
        ("compiled / JAX, x1", "compiled x1", "JAX x1"),
        ("x16 / JAX x16", "engine x16", "JAX x16"),
        ("x16 / eager", "engine x16", "eager autograd"),
        ("x1 / eager", "engine x1", "eager autograd"),
    ):
        lines.append(line(label, [f"{row[ours] / row[theirs]:.2f}" for row in table.values()], width))
    for ours in ("two processes x32", "compiled x32", "engine x32"):
        label = f"{ours}, % of best"
        lines.append(line(label, [f"{100 * shares[column][ours]:.0f}" for column in table], width))
    products = [
        [table[f"batch {size}{bn}"][f"products x{n}"] for bn in ("", ", bn")] for size in BATCH_SIZES for n in ENSEMBLES
    ]
    apart = max(max(pair) / min(pair) - 1 for pair in products)
    of_libraries = ", ".join(f"{name} {rate:.0f}" for name, rate in rates.items())
    lines.append(f"Products, the same with and without bn, differ by up to {100 * apart:.0f} %")
    return "\n".join([*lines, f"Large float32 product: {of_libraries} GFLOP/s"])


def _batch_size(row: str) -> int:
    return int(row.removeprefix("batch ").split(",")[0])


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _rounded(each) for key, each in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value


if __name__ == "__main__":
    main()
