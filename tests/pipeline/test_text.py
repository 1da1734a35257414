"""A text that comes from outside is shown on one line, printable and cut."""

import pytest

from pipeline.text import LONGEST, shown


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("MNIST", "MNIST"),
        ("Größe 手", "Größe 手"),
        ("a\tb\n\n c\r\nd", "a b c d"),
        ("\x1b[31mred\x1b[0m\x07", r"\x1b[31mred\x1b[0m\x07"),
        ("right\u202eto left", r"right\u202eto left"),
        (ValueError("of\nan error"), "of an error"),
    ],
)
def test_a_foreign_text_is_printable_and_on_one_line(text, said):
    assert shown(text) == said
    assert shown(text).isprintable()


def test_a_long_text_is_cut():
    assert shown("a" * LONGEST) == "a" * LONGEST
    assert shown("a" * 60_000) == "a" * LONGEST + "..."
    assert shown("line\n" * 50, longest=9) == "line line..."
    assert shown("\x1b" * 60_000) == r"\x1b" * (LONGEST // 4) + "..."  # as it is shown
    assert len(shown("\U000e0001" * 60_000, longest=30)) == 33
