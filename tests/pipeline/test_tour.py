"""The tour runs from top to bottom, and what is stored in it is what its code gives."""

import base64
import io
import json
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from PIL import Image

from tools import tour

TOUR = Path("docs/tour.ipynb")
NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]\d+)?")


def read():
    return nbformat.read(TOUR, as_version=4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def texts(notebook):
    """Return what each code cell prints and shows as text; a picture's text is the same for all."""
    return ["".join(part.get("text") or part.data["text/plain"] for part in cell.outputs) for cell in code(notebook)]


def executed(folder):
    """Run the tour in a folder, and return it."""
    notebook = read()
    for cell in code(notebook):
        cell.outputs = []
    return NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": folder}}
    ).execute()


def assert_alike(text, other):
    """The words are the same, and the numbers up to rounding: below 1e-8 they are nothing but rounding."""
    assert NUMBER.sub("#", text) == NUMBER.sub("#", other)
    ours, theirs = ([float(number.replace(",", "")) for number in NUMBER.findall(each)] for each in (text, other))
    assert ours == pytest.approx(theirs, rel=0.02, abs=1e-8)


def test_it_runs_and_what_is_stored_is_what_its_code_gives():
    stored, now = read(), executed("docs")
    shown = [[*part.get("data", ["text"])] for cell in code(now) for part in cell.outputs]
    assert shown == [[*part.get("data", ["text"])] for cell in code(stored) for part in cell.outputs]
    if tour.examples().name == "mnist":  # what is stored is of MNIST; the digits give other numbers
        for text, other in zip(texts(now), texts(stored), strict=True):
            assert_alike(text, other)


@pytest.mark.long
def test_it_runs_on_the_bundled_digits_where_there_is_no_other_data(tmp_path):
    for name in ("pipeline", "stages", "tools", "params.yaml"):
        (tmp_path / name).symlink_to(Path(name).absolute())
    assert texts(executed(str(tmp_path)))[1].startswith("digits: 1,150 images to train on")


@pytest.mark.parametrize(
    ("text", "other"), [("a 1.25", "b 1.25"), ("1.25", "1.30"), ("7 of 9", "7 of 8"), ("2e-01", "2e-17")]
)
def test_another_word_or_number_is_seen(text, other):
    with pytest.raises(AssertionError):
        assert_alike(text, other)
    assert_alike("4e-16 and 0.2513", "1e-17 and 0.2514")


def test_its_pictures_are_png_files_of_a_sane_size_and_all_of_it_is_small():
    pictures = [
        part.data["image/png"] for cell in code(read()) for part in cell.outputs if "image/png" in part.get("data", {})
    ]
    assert len(pictures) > 10
    for picture in pictures:
        with Image.open(io.BytesIO(base64.b64decode(picture))) as image:
            assert image.format == "PNG" and 300 < image.width < 3000 and 50 < image.height < 3000
    assert TOUR.stat().st_size < 2**20


def test_each_cell_of_code_is_short():
    for cell in code(read()):
        lines = [line for line in cell.source.splitlines() if line.strip()]
        assert len(lines) <= 15, cell.source


def test_nothing_in_it_tells_when_where_or_by_whom_it_was_run():
    text = TOUR.read_text(encoding="utf-8")
    notebook = json.loads(text)
    assert set(notebook["metadata"]) == {"kernelspec", "language_info"}
    assert all(not cell["metadata"] for cell in notebook["cells"])
    assert not re.search(r"/(home|root|tmp|work|usr)/|0x[0-9a-f]{6}|stderr", "".join(texts(read())))


def test_every_link_leads_somewhere():
    pages = [cell.source for cell in read().cells if cell.cell_type == "markdown"]
    headings = {
        line.lstrip("# ").replace(" ", "-") for page in pages for line in page.splitlines() if line.startswith("#")
    }
    for link in re.findall(r"\]\(([^)]+)\)", "\n".join(pages)):
        path, _, place = link.partition("#")
        if path:
            assert (TOUR.parent / path).exists(), link
        else:
            assert place in headings, link
