"""Show a text on one line if it comes from outside (a file, a server, the environment), else on lines that fit.

And refuse a name that is more than plain text.
"""

import re
import textwrap
from collections.abc import Sequence

LONGEST = 120  # characters
COLUMNS = 80  # of a terminal
GAP = "   "


def shown(text: object, longest: int = LONGEST) -> str:
    """Return a foreign text on one line, printable, and cut after so many characters."""
    line = " ".join(str(text).split())
    line = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in line)
    return line if len(line) <= longest else f"{line[:longest]}..."


def require_plain(*names: str) -> None:
    """Refuse a name that a spreadsheet or a browser could take for a formula or a script."""
    for name in names:
        if not re.fullmatch(r"[^\W_][\w /-]{,39}", name):
            wanted = "begin with a letter or digit, and hold at most 40 letters, digits, spaces, _, - and /"
            raise ValueError(f"the name {shown(repr(name))} must {wanted}")


def in_lines(text: str) -> str:
    """Divide a text into lines that fit a terminal."""
    return textwrap.fill(text, COLUMNS, subsequent_indent="  ")


def in_columns(texts: Sequence[str]) -> list[str]:
    """Set short texts side by side, in as many columns as fit a terminal; one that is longer has its own line."""
    width = max(map(len, texts), default=0)
    columns = max(1, (COLUMNS + len(GAP)) // (width + len(GAP)))
    aligned = [text.rjust(width) for text in texts]
    return [GAP.join(aligned[first : first + columns]) for first in range(0, len(texts), columns)]
