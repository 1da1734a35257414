"""Run `docs/tour.ipynb` from top to bottom and store what it shows: after a change of its text or of the code."""

from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

from pipeline import artifacts

TOUR = Path("docs/tour.ipynb")
_nbformat: Any = nbformat  # whose functions lack type hints


def executed(path: Path, folder: Path) -> NotebookNode:
    """Run a notebook in a folder; nothing in it tells when or where."""
    notebook: NotebookNode = _nbformat.read(path, as_version=4)
    place = {"metadata": {"path": str(folder)}}
    client = NotebookClient(notebook, timeout=300, record_timing=False, coalesce_streams=True, resources=place)
    client.execute()
    notebook.metadata.language_info = {"name": "python"}
    return notebook


def main() -> None:
    """Store the tour once all of it has run."""
    notebook = executed(TOUR, TOUR.parent)
    artifacts.write_bytes(TOUR, f"{_nbformat.writes(notebook)}\n".encode())


if __name__ == "__main__":
    main()
