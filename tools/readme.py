"""Write the README's table and pictures, and the copy of the report, from the results of the last run.

A picture stays as it is if its program (chromium; soffice and pdftoppm) is not installed.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from pandas import DataFrame
from PIL import Image

from pipeline import artifacts
from pipeline.params import load_params
from pipeline.report import figures
from stages import PARAMS
from tools import plots_template

README = Path("README.md")
DOCS = Path("docs")
REPORT = Path("report.docx")
PAGE = Path("dvc_plots/index.html")
HEADER = ["", "Test (%)", "Validation (%)", "Train (%)", "Steps", "Epochs", "Mean test, all seeds (%)", "Difference"]


def table(networks: DataFrame, study: dict[str, Any]) -> str:
    """Return the table of all arms as Markdown."""
    arms = load_params(PARAMS).arms
    headlines = networks[networks["headline"] == 1].set_index("arm")
    rows = [HEADER, ["---", *["---:"] * (len(HEADER) - 1)]]
    for arm, over in study.items():
        headline = headlines.loc[arm]
        rows.append(
            [
                arms[arm].title,
                *(f"{headline[f'{split}_accuracy']:.2f}" for split in ("test", "validation", "train")),
                f"{headline['steps']:,.0f}",
                f"{headline['epochs']:.1f}",
                f"{over['mean']:.2f} ± {over['sd']:.2f}",
                _difference(over.get("test_accuracy")),
            ]
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _difference(gain: dict[str, Any] | None) -> str:
    if gain is None:
        return ""
    ends = f" [{gain['low']:.2f}, {gain['high']:.2f}]" if "low" in gain else ""
    return f"{gain['difference']:+.2f}{ends}"


def distribution(networks: DataFrame) -> bytes:
    """Return the distribution of test accuracy over the networks as a PNG file."""
    titles = {name: arm.title for name, arm in load_params(PARAMS).arms.items()}
    accuracies = {arm: networks.loc[networks["arm"] == arm, "test_accuracy"] for arm in titles}
    return figures.seed_distribution(accuracies, titles, "Test accuracy of every network")


def screenshot(page: Path, chromium: str) -> bytes:
    """Return the top of a page as a small PNG file."""
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder, "page.png")
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=20000"]
        size = [f"--user-data-dir={folder}", "--window-size=1320,1750", f"--screenshot={picture}"]
        subprocess.run([chromium, *flags, *size, page.resolve().as_uri()], check=True, capture_output=True)
        return _smaller(picture)


def report_page(report: Path, number: int) -> bytes:
    """Return a page of the report as a small PNG file."""
    with tempfile.TemporaryDirectory() as folder:
        convert = ["soffice", f"-env:UserInstallation={Path(folder).as_uri()}", "--headless", "--convert-to", "pdf"]
        subprocess.run([*convert, "--outdir", folder, str(report)], check=True, capture_output=True)
        pages = ["-f", str(number), "-l", str(number), "-singlefile", "-r", "100", "-png"]
        subprocess.run(["pdftoppm", *pages, Path(folder, f"{report.stem}.pdf"), Path(folder, "page")], check=True)
        return _smaller(Path(folder, "page.png"))


def _smaller(picture: Path) -> bytes:
    """Take a third off a picture's size if it is wide, and most of its colours."""
    image: Image.Image = Image.open(picture)
    if image.width > 1000:
        image = image.resize((image.width * 2 // 3, image.height * 2 // 3), Image.Resampling.LANCZOS)
    return figures.in_few_colours(image)


def contents() -> dict[Path, bytes]:
    """Make the README, with the table between its two marks, and beside the docs the pictures and the report."""
    networks = artifacts.read_table(Path("plots/seeds.csv"))
    study = artifacts.read_json(Path("metrics/study.json"))["arms"]
    text = README.read_text(encoding="utf-8")
    marked = re.sub(
        r"(?s)(<!-- results -->\n).*?(\n<!-- end -->)", lambda mark: mark[1] + table(networks, study) + mark[2], text
    )
    made = {README: marked.encode(), DOCS / "seeds.png": distribution(networks), DOCS / REPORT: REPORT.read_bytes()}
    if chromium := shutil.which("chromium"):
        plots_template.main()
        subprocess.run(["dvc", "plots", "show", "--quiet"], check=True)
        made[DOCS / "page.png"] = screenshot(PAGE, chromium)
    if shutil.which("soffice") and shutil.which("pdftoppm"):
        made[DOCS / "report.png"] = report_page(REPORT, 1)
    return made


def main() -> None:
    """Put everything in place once all of it is made, so that a failure changes nothing."""
    for path, content in contents().items():
        artifacts.write_bytes(path, content)


if __name__ == "__main__":
    main()
