"""Write the README's table and pictures, and the copy of the report, from the results of the last run.

A picture stays as it is if its program (chromium; soffice and pdftoppm) is not installed.
"""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from pandas import DataFrame, Series
from PIL import Image

from pipeline import artifacts
from pipeline.analysis import tables
from pipeline.data.preprocessing import DatasetCard
from pipeline.network.ensemble import TrainingResult
from pipeline.network.forward import L_model_forward
from pipeline.params import Params
from pipeline.report import figures
from pipeline.text import shown
from stages import MODELS, PLOTS, SPLIT, examples, run
from stages.progress import working
from tools import configure, summary
from tools.one_example import one_example

README = Path("README.md")
DOCS = Path("docs")
REPORT = Path("report.docx")
PAGE = Path("dvc_plots/index.html")


def table(results: DataFrame) -> str:
    """Return the table of all arms as Markdown."""
    means = summary.mean_table(results)
    texts = DataFrame(
        {
            "": results["arm"],
            **{f"{name.capitalize()} (%)": results[name].map("{:.2f}".format) for name in tables.SETS},
            "Iterations": results["steps"].map("{:,}".format),
            "Epochs": results["epochs"].map("{:.1f}".format),
            "Mean test, all networks (%)": means["mean ± sd"],
            "Difference (points)": (means["difference"] + " " + means["95 % interval"]).str.strip(),
        }
    )
    texts[""] = texts[""].str.replace("|", r"\|")
    rows = [list(texts.columns), ["---", *["---:"] * (len(texts.columns) - 1)], *texts.to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def distribution(networks: DataFrame) -> bytes:
    """Return the distribution of test accuracy over the networks as a PNG file."""
    arms = list(dict.fromkeys(networks["arm"]))
    accuracies = {arm: networks.loc[networks["arm"] == arm, "test_accuracy"] for arm in arms}
    return figures.seed_distribution(accuracies, {arm: arm for arm in arms}, finding(accuracies))


def finding(accuracies: dict[str, "Series[float]"]) -> str:
    """Say which arm has the highest median, and whether another arm has networks that are better than its worst."""
    best = max(accuracies, key=lambda arm: accuracies[arm].median())
    overlaps = any(accuracies[best].min() < of_arm.max() for arm, of_arm in accuracies.items() if arm != best)
    return f"{best} has the highest median, {accuracies[best].median():.1f} %" + ", but the arms overlap" * overlaps


def one_digit(params: Params) -> bytes:
    """Return the first test image and what the reference's headline model says of it as a PNG file."""
    card = artifacts.read_record(DatasetCard, SPLIT / "card")
    result = artifacts.read_record(TrainingResult, MODELS / params.reference)
    X, _ = examples("test")
    parameters = {name: each[result.headline] for name, each in result.parameters.items()}
    AL, _ = L_model_forward(X[:, :1], parameters, "mean1" in parameters, inference=True)
    return one_example(X[:, 0].numpy(), result.layers_dims, AL[:, 0].numpy(), card.classes)


def screenshot(page: Path, chromium: str) -> bytes:
    """Return the top of a page as a small PNG file."""
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder, "page.png")
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=20000"]
        size = [f"--user-data-dir={folder}", "--window-size=1320,1750", f"--screenshot={picture}"]
        start(chromium, *flags, *size, page.resolve().as_uri())
        return _smaller(picture)


def report_page(report: Path, number: int) -> bytes:
    """Return a page of the report as a small PNG file."""
    with tempfile.TemporaryDirectory() as folder:
        convert = ["soffice", f"-env:UserInstallation={Path(folder).as_uri()}", "--headless", "--convert-to", "pdf"]
        start(*convert, "--outdir", folder, str(report))
        pages = ["-f", str(number), "-l", str(number), "-singlefile", "-r", "100", "-png"]
        start("pdftoppm", *pages, f"{folder}/{report.stem}.pdf", f"{folder}/page")
        return _smaller(Path(folder, "page.png"))


def start(*command: str) -> None:
    """Run a program to its end; an error gives its words."""
    done = subprocess.run([*command], check=False, capture_output=True, text=True, errors="replace")
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {shown(done.stderr)}")


def _smaller(picture: Path) -> bytes:
    """Take a third off a picture's size if it is wide, and most of its colours."""
    image: Image.Image = Image.open(picture)
    if image.width > 1000:
        image = image.resize((image.width * 2 // 3, image.height * 2 // 3), Image.Resampling.LANCZOS)
    return figures.in_few_colours(image)


def contents(params: Params) -> dict[Path, bytes]:
    """Make the README, with the table between its two marks, and beside the docs the pictures and the report."""
    results = summary.read_results(params)
    if (dataset := results["dataset"][0]) != params.data.dataset:
        raise ValueError(f"the results are of {shown(dataset)}, not of {params.data.dataset}: run dvc repro first")
    networks = artifacts.read_table(PLOTS / "seeds.csv", {"arm": str, "test_accuracy": float})
    text = README.read_text(encoding="utf-8")
    marks = r"(?s)(<!-- results -->\n).*?(\n<!-- end -->)"
    marked, count = re.subn(marks, lambda mark: mark[1] + table(results) + mark[2], text)
    if not count:
        raise ValueError(f"{README} lacks the lines <!-- results --> and <!-- end -->, between which the table stands")
    with artifacts.damage_named(REPORT):
        made = {README: marked.encode(), DOCS / REPORT: REPORT.read_bytes()}
    made |= {DOCS / "seeds.png": distribution(networks), DOCS / "network.png": one_digit(params)}
    if chromium := shutil.which("chromium"):
        configure.main()
        start("dvc", "plots", "show", "--quiet")
        made[DOCS / "page.png"] = screenshot(PAGE, chromium)
    if shutil.which("soffice") and shutil.which("pdftoppm"):
        made[DOCS / "report.png"] = report_page(REPORT, 1)
    return made


def main(params: Params) -> None:
    """Put everything in place once all of it is made, so that a failure changes nothing."""
    with working("readme: the first pages of the report and of the plots"):
        made = contents(params)
    for path, content in made.items():
        artifacts.write_bytes(path, content)


if __name__ == "__main__":
    run(main, "readme")
