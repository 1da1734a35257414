"""Show a text that comes from outside: from a file, a server or the environment."""

from __future__ import annotations

LONGEST = 120  # characters


def shown(text: object, longest: int = LONGEST) -> str:
    """Return a foreign text on one line, printable, and cut after so many characters."""
    line = " ".join(str(text).split())
    line = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in line)
    return line if len(line) <= longest else f"{line[:longest]}..."
