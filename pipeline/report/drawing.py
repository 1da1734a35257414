"""What keeps the drawing apart from the reader's own Matplotlib: its backend, settings and font; which titles it draws.

The stage `check` uses this module of the report too, so nothing here is slow to import.
"""

import os

os.environ["MPLBACKEND"] = "agg"  # with a notebook's, which may not be installed here, Matplotlib cannot be imported

import unicodedata
from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
from matplotlib.ft2font import FT2Font

FONT = "DejaVu Sans"  # comes with Matplotlib, in these files
FONT_FILES = ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf")


def require_drawable(titles: Mapping[str, str]) -> None:
    """Refuse a title, by arm, that the figures cannot draw or that looks like another arm's."""
    fonts = [FT2Font(str(Path(mpl.get_data_path(), "fonts", "ttf", file))) for file in FONT_FILES]
    codes = set.intersection(*(set(font.get_charmap()) for font in fonts))
    # Matplotlib does not turn text round that runs from right to left.
    letters = {letter for letter in map(chr, codes) if unicodedata.bidirectional(letter) not in ("R", "AL")}
    arms: dict[str, str] = {}  # by title
    for arm, title in titles.items():
        said = f"arms.{arm}.title is {title!r}"
        if missing := [letter for letter in title if letter not in letters]:
            first = f"{missing[0]} (U+{ord(missing[0]):04X})"
            raise ValueError(f"{said}: the figures cannot draw {first}; take Latin, Greek or Cyrillic letters")
        same = arms.setdefault(" ".join(unicodedata.normalize("NFKC", title).casefold().split()), arm)
        if same != arm:
            raise ValueError(f"{said}: arms.{same} has the same title, and each needs its own")
