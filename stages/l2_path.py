"""Train a grid of lambdas times seeds as one ensemble, to choose lambda on the validation set."""

from pipeline.params import Params
from stages import RESULTS
from stages.launch import run_training
from stages.train import train_ensemble


def main(params: Params) -> None:
    path = params.l2_path
    seeds = [seed for _ in path.values for seed in path.seeds]
    lambdas = [value for value in path.values for _ in path.seeds]
    train_ensemble(params, "l2_path", RESULTS / "l2_path", seeds, l2=lambdas)


if __name__ == "__main__":
    run_training(main, lambda params: params.l2_path.networks, "l2_path")
