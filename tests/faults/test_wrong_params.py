"""A wrong ``params.yaml`` stops `dvc repro` in one or two lines, before any output is touched."""

import re

import pytest
from clones import RUNNING
from runs import copy_of


@pytest.fixture(scope="module")
def finished(clone, tmp_path_factory):
    return copy_of(clone, tmp_path_factory.mktemp("wrong"))


def outputs(clone):
    """Read every output but the check's own."""
    contents = {path.relative_to(clone.folder).as_posix(): content for path, content in clone.contents().items()}
    contents.pop("data/checked.json", None)
    return contents | {"report.docx": (clone.folder / "report.docx").read_bytes()}


@pytest.mark.parametrize(
    ("pattern", "wrong", "said"),
    [
        pytest.param(
            r"batch_size: \d+",
            "batch_size: -5",
            "params.yaml: training.batch_size is -5: input should be greater than",
            marks=pytest.mark.long,
        ),
        (r"\nnetwork:", "\ntiming: 7\nnetwork:", "timing"),
        (r"  l2:\n", "  x; touch owned:\n", "params.yaml: arms.x; touch owned is 'x; touch owned': string should"),
    ],
    ids=["a value", "a section twice", "an arm that is a command"],
)
def test_no_output_is_touched_and_no_command_is_made_of_a_name(finished, pattern, wrong, said):
    before, params = outputs(finished), (finished.folder / "params.yaml").read_text()
    changed = re.sub(pattern, wrong, params, count=1)
    assert changed != params
    (finished.folder / "params.yaml").write_text(changed)
    try:
        with pytest.raises(AssertionError) as failed:  # which shows what dvc printed
            finished.dvc("repro")
    finally:
        (finished.folder / "params.yaml").write_text(params)
    assert said in str(failed.value)
    assert "Traceback" not in str(failed.value)
    assert re.findall(RUNNING, str(failed.value)) in ([], ["check"])  # dvc itself finds a section that is there twice
    assert outputs(finished) == before
    assert not list(finished.folder.rglob("owned"))
