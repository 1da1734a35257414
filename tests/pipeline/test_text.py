"""A text that comes from outside is shown on one line, printable and cut; columns fit a terminal."""

import pytest

from pipeline.text import COLUMNS, LONGEST, in_columns, shown


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


@pytest.mark.parametrize(("longest", "columns"), [(1, 20), (7, 8), (12, 5), (38, 2), (39, 1), (80, 1), (95, 1)])
def test_columns_fill_a_terminal_and_are_aligned_at_the_right(longest, columns):
    texts = ["a" * longest, *"bcdefghijklmnopqrstuvw"]
    lines = in_columns(texts)
    assert " ".join(lines).split() == texts
    assert [len(line.split()) for line in lines[:-1]] == [columns] * (len(lines) - 1)
    assert {len(line) for line in lines[:-1]} == {columns * longest + (columns - 1) * 3}
    assert longest > COLUMNS or all(len(line) <= COLUMNS for line in lines)
    assert in_columns([]) == []
