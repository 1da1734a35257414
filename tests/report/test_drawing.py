"""The figures are the same on every reader's machine, and a title that they cannot draw is refused at once."""

import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from matplotlib.text import Text
from pandas import DataFrame

from pipeline.params import load_params
from pipeline.report import figures
from pipeline.report.drawing import require_drawable
from stages import check

PARAMS = load_params(Path("params.yaml"))
ODD = "_a$b$ $\\frac$ 100 % \N{GREEK SMALL LETTER LAMDA}"  # no mathematics, and a name that a legend could leave out
DRAW = f"""
import hashlib, sys
from pipeline.report import figures
picture = figures.seed_distribution({{"arm": [91.0, 92.5]}}, {{"arm": {ODD!r}}}, "Every network")
print(hashlib.sha256(picture).hexdigest())
"""
PERSONAL = "text.usetex: True\nfont.family: serif\naxes.facecolor: red\nxtick.color: blue\nsavefig.bbox: tight\n"


@pytest.mark.slow
def test_a_notebook_s_backend_and_a_personal_matplotlibrc_change_no_byte_of_a_figure(tmp_path):
    (tmp_path / "matplotlibrc").write_text(PERSONAL)
    strange = {"MPLBACKEND": "module://nowhere.backend_inline", "MATPLOTLIBRC": str(tmp_path / "matplotlibrc")}
    command = [sys.executable, "-c", DRAW]
    drawn = subprocess.run(command, env=os.environ | strange, capture_output=True, text=True, check=False)
    ours = sha256(figures.seed_distribution({"arm": [91.0, 92.5]}, {"arm": ODD}, "Every network")).hexdigest()
    assert (drawn.stdout.strip(), drawn.stderr) == (ours, "")


def test_no_title_is_mathematics_or_left_out_of_a_legend(monkeypatch):
    caught = []
    monkeypatch.setattr(figures, "_png", caught.append)
    titles = {"a": ODD, "b": "L2 $x^2$"}
    figures.seed_distribution({arm: [91.0, 92.5] for arm in titles}, titles, f"Every network of {ODD}")
    figures.by_layer({(f"Gradients of {ODD}", "norm"): {arm: DataFrame({"W1": [1.0, 2.0]}) for arm in titles}}, titles)
    for figure in caught:
        assert not any(text.get_parse_math() for text in figure.findobj(Text) if "$" in text.get_text())
    assert [text.get_text() for text in caught[1].legends[0].get_texts()] == [ODD, "L2 $x^2$"]


@pytest.mark.parametrize(
    ("title", "letter"),
    [
        ("漢字", "漢"),
        ("plain \N{THUMBS UP SIGN}", "\N{THUMBS UP SIGN}"),
        ("ไทย", "ไ"),
        ("\N{HEBREW LETTER SHIN}", "\N{HEBREW LETTER SHIN}"),  # in the font, and drawn from the wrong side
    ],
)
def test_a_title_that_the_figures_cannot_draw_is_refused_by_the_check_which_writes_nothing(
    title, letter, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    arms = {**PARAMS.arms, "l2": PARAMS.arms["l2"].model_copy(update={"title": title})}
    with pytest.raises(
        ValueError, match=rf"^arms\.l2\.title is '{title}': .*cannot draw {letter} \(U\+[0-9A-F]{{4,}}\)"
    ):
        check.main(PARAMS.model_copy(update={"arms": arms}))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("title", [ODD, "Ünïcode, Ж and ≤", "e\N{COMBINING ACUTE ACCENT}", "a -> b → c"])
def test_a_title_that_is_not_refused_is_drawn_in_regular_and_bold_without_a_warning(title):
    require_drawable({"arm": title})
    figures.seed_distribution({"arm": [1.0]}, {"arm": title}, title)
    figures.first_layer_weights({"arm": torch.arange(4.0).view(1, 4)}, {"arm": title}, title)  # in bold


@pytest.mark.parametrize("other", ["Batch norm", "batch  NORM "])
def test_two_arms_of_one_title_are_refused(other):
    with pytest.raises(ValueError, match=r"^arms\.b\.title is .*: arms\.a has the same title"):
        require_drawable({"a": "Batch norm", "c": "L2", "b": other})


def test_letters_that_look_the_same_make_no_second_title():
    with pytest.raises(ValueError, match=r"arms\.a has the same title"):
        require_drawable({"a": "\N{LATIN SMALL LETTER E WITH ACUTE}", "b": "e\N{COMBINING ACUTE ACCENT}"})
