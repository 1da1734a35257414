"""Show a text on one line if it comes from outside (a file, a server, the environment), else on lines that fit."""

from __future__ import annotations

import textwrap

LONGEST = 120  # characters
COLUMNS = 80  # of a terminal


def shown(text: object, longest: int = LONGEST) -> str:
    """Return a foreign text on one line, printable, and cut after so many characters."""
    line = " ".join(str(text).split())
    line = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in line)
    return line if len(line) <= longest else f"{line[:longest]}..."


def in_lines(text: str) -> str:
    """Divide a text into lines that fit a terminal."""
    return textwrap.fill(text, COLUMNS, subsequent_indent="  ")
