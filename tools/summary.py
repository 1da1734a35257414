"""Print the results of the last run; `make` ends with it, even if nothing had to run."""

from collections.abc import Sequence

from pandas import DataFrame

from pipeline import artifacts
from pipeline.analysis.timing import Timing, kind_of
from pipeline.params import Params
from pipeline.text import shown
from stages import CHECKED, PLOTS, RESULTS, run

LONGEST = 21  # characters of a title: a line fits 80 columns
COLUMNS = {"arm": str, "dataset": str, "steps": int} | dict.fromkeys(
    ["train", "validation", "test", "epochs", "mean_test", "sd_test", "difference", "low", "high"], float
)


def read_results(params: Params) -> DataFrame:
    """Read the table of all arms, if it is of the arms in ``params.yaml``."""
    path = PLOTS / "results.csv"
    results = artifacts.read_table(path, COLUMNS)
    if results["arm"].tolist() != [arm.title for arm in params.arms.values()]:
        raise ValueError(f"{path} is not of the arms in params.yaml; to make it again: dvc repro")
    dataset, data = results["dataset"][0], params.data
    if dataset not in (data.dataset, data.offline_fallback):  # not even data that stand in: of an earlier run
        raise ValueError(f"{path} is of {shown(dataset)}, not of {data.dataset}; to make it again: dvc repro")
    return results


def headline_table(results: DataFrame, seconds: Sequence[float]) -> DataFrame:
    """Put what is known of each arm's headline model into words."""
    table = DataFrame({name: results[name].map("{:.2f}".format) for name in ("train", "validation", "test")})
    table["iterations"] = results["steps"].map("{:,}".format)
    table["epochs"] = results["epochs"].map("{:.1f}".format)
    table["seconds"] = [f"{each:,.1f}" for each in seconds]
    return table


def mean_table(results: DataFrame) -> DataFrame:
    """Put the mean of each arm's networks, and its difference from the reference, into words; empty if not known."""
    low, high = (results[name].map("{:.2f}".format) for name in ("low", "high"))
    deviation = results["sd_test"].map(" ± {:.2f}".format).where(results["sd_test"].notna(), "")
    table = DataFrame({"mean ± sd": results["mean_test"].map("{:.2f}".format) + deviation})
    table["difference"] = results["difference"].map("{:+.2f}".format).where(results["difference"].notna(), "")
    table["95 % interval"] = ("[" + low + ", " + high + "]").where(results["low"].notna(), "")
    return table


def _as_text(table: DataFrame, results: DataFrame, corner: str) -> str:
    titles = [shown(title, LONGEST) for title in results["arm"]]
    return table.set_axis(titles, axis="index").rename_axis(columns=corner).to_string()


def main(params: Params) -> None:
    """Print where the results lie, and the tables; after a run on stand-in data see that the next run tries again."""
    results = read_results(params)
    timing = artifacts.read_record(Timing, RESULTS / "timing")
    seconds = [
        timing.seconds_alone(kind_of(arm.use_batchnorm), steps, params.training.evaluate_every)
        for arm, steps in zip(params.arms.values(), results["steps"], strict=True)
    ]
    dataset, wanted = results["dataset"][0], params.data.dataset
    print("\nThe report is report.docx; `make plots` writes dvc_plots/index.html.")
    print(f"\nResults on {dataset}: accuracies in %, seconds to train this network alone\n")
    print(_as_text(headline_table(results, seconds), results, "Headline model"))
    print(f"\n{_as_text(mean_table(results), results, f'Test accuracy, n = {len(params.training.seeds):,}')}")
    if dataset != wanted:
        CHECKED.unlink(missing_ok=True)  # so that `dvc commit` and `dvc exp save` do not take this run for finished
        print(f"\nSTAND-IN DATA: no source gave {wanted}, so this is {dataset}.")
        print("The next make or dvc repro tries again.")


if __name__ == "__main__":
    run(main, "summary")
