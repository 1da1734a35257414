"""Digits that stand in for a data set without a source are never taken for it, and never outlast their reason."""

import json
import shutil

import pytest
from clones import AUTHOR, Clone, small_params
from mirrors import FILES, checksums
from runs import copy_of

import stages
from pipeline import artifacts
from pipeline.data.sources import SOURCES
from stages import CHECKED
from tools import summary

OFFLINE = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9", "DATA_MIRROR": ""}
LOUD = "NO SOURCE GAVE mnist: RUNNING ON THE BUNDLED digits INSTEAD."


@pytest.fixture
def mirror(tmp_path):
    """Give what says where a small set lies that is taken for MNIST."""
    for file, packed in FILES.items():
        artifacts.write_bytes(tmp_path / "mirror" / file, packed)
    return {"DATA_MIRROR": str(tmp_path / "mirror")}


def clone_that_knows_the_small_set(folder):
    clone = Clone(folder)
    table = clone.folder / "pipeline" / "data" / "sources.py"
    text = table.read_text()
    for real, small in zip(SOURCES["mnist"].sha256, checksums(FILES), strict=True):
        text = text.replace(real, small)
    table.write_text(text)
    return clone


@pytest.fixture(scope="module")
def offline(tmp_path_factory):
    """A clone in which the digits stand in for MNIST; nobody changes it."""
    clone = clone_that_knows_the_small_set(tmp_path_factory.mktemp("offline"))
    clone.env |= OFFLINE
    choose(clone, "mnist")
    clone.commit()
    assert clone.repro("download") == ["check", "download"]
    assert LOUD in clone.printed
    assert held_by(clone) == "digits"
    return clone


@pytest.fixture
def stood_in(offline, tmp_path):
    return copy_of(offline, tmp_path)


def choose(clone, dataset):
    (clone.folder / "params.yaml").write_text(small_params(data={"dataset": dataset}))


def held_by(clone):
    return json.loads((clone.folder / "data" / "source" / "record.json").read_text())["name"]


@pytest.mark.slow
def test_the_next_run_takes_the_set_that_was_asked_for_as_soon_as_a_source_has_it(stood_in, mirror):
    """Also where another set was asked for meanwhile: the digits do not come from the cache."""
    assert "check" in stood_in.dvc("status", "check")  # not finished, for everyone to see
    choose(stood_in, "digits")
    stood_in.repro("download")
    choose(stood_in, "mnist")
    assert stood_in.repro("download") == ["check", "download"]  # no source yet: loud again
    assert LOUD in stood_in.printed and held_by(stood_in) == "digits"
    stood_in.env |= mirror
    assert stood_in.repro("download") == ["check", "download"]
    assert held_by(stood_in) == "mnist"
    assert stood_in.repro("download") == []


@pytest.mark.long
def test_what_leaves_out_the_check_asks_no_source_unless_it_is_forced(stood_in, mirror):
    stood_in.env |= mirror
    assert stood_in.repro("--single-item", "download") == []
    stages_to_split = (stood_in.folder / "dvc.yaml").read_text().partition("  train:\n")[0]
    with stood_in.edited("dvc.yaml", stages_to_split):
        assert stood_in.repro("--dry", "--downstream", "download") == ["split"]
    assert held_by(stood_in) == "digits"
    assert stood_in.repro("--force", "--single-item", "download") == ["download"]
    assert held_by(stood_in) == "mnist"


@pytest.mark.long
def test_so_does_the_next_experiment(stood_in, mirror):
    stood_in.commit()
    stood_in.env |= mirror
    stood_in.dvc("exp", "run", "download")
    assert held_by(stood_in) == "mnist"
    assert stood_in.repro("download") == []


@pytest.mark.long
def test_the_real_set_comes_back_from_the_cache_without_a_source(stood_in, mirror):
    stood_in.env |= mirror
    stood_in.repro("download")
    stood_in.env |= OFFLINE
    choose(stood_in, "digits")
    stood_in.repro("download")
    choose(stood_in, "mnist")
    assert stood_in.repro("download") == ["check"]
    assert held_by(stood_in) == "mnist"


@pytest.mark.long
def test_a_colleague_with_the_same_cache_does_not_get_the_digits(stood_in, mirror, tmp_path):
    colleague = clone_that_knows_the_small_set(tmp_path / "colleague")
    shutil.copytree(stood_in.folder / ".dvc" / "cache", colleague.folder / ".dvc" / "cache")
    colleague.env |= mirror
    choose(colleague, "mnist")
    assert "download" in colleague.repro("download")
    assert held_by(colleague) == "mnist"


@pytest.mark.long
def test_what_dvc_commit_has_accepted_ends_with_the_next_check(stood_in, mirror):
    stood_in.dvc("commit", "--force", "check", "download")
    assert stood_in.repro("download") == []
    stood_in.env |= mirror
    stood_in.dvc("repro", "--force", "--single-item", "check")
    assert stood_in.repro("download") == ["download"]
    assert held_by(stood_in) == "mnist"


@pytest.mark.long
def test_after_make_dvc_accepts_no_stand_in(stood_in, mirror):
    (stood_in.folder / CHECKED).unlink()  # as the end of make does
    with pytest.raises(AssertionError, match=rf"output '{CHECKED}' does not exist"):
        stood_in.dvc("commit", "--force", "check", "download")
    stood_in.env |= mirror
    assert stood_in.repro("download") == ["check", "download"]
    assert held_by(stood_in) == "mnist"


@pytest.mark.long
def test_an_experiment_in_a_copy_leaves_no_digits_in_the_cache(tmp_path, mirror):
    clone = clone_that_knows_the_small_set(tmp_path)
    choose(clone, "mnist")
    clone.commit()
    clone.env |= OFFLINE | AUTHOR
    clone.dvc("exp", "run", "--temp", "download")
    assert LOUD in clone.printed
    clone.env |= mirror
    assert clone.repro("download") == ["check", "download"]
    assert held_by(clone) == "mnist"


def test_make_ends_with_a_line_about_data_that_stand_in(clone, monkeypatch, capsys):
    """The last thing that it prints, every time; what dvc has accepted of that run ends with it."""
    monkeypatch.chdir(clone.folder)
    stages.run(summary.main, "summary")
    assert "STAND-IN" not in capsys.readouterr().out
    with clone.edited("params.yaml", small_params(data={"dataset": "mnist"})), clone.edited(CHECKED, "dvc commit"):
        for _ in range(2):
            stages.run(summary.main, "summary")
            assert not (clone.folder / CHECKED).exists()
            said = capsys.readouterr().out
            assert "Results on digits: " in said
            *_, last, advice = said.splitlines()
            assert last == "STAND-IN DATA: no source gave mnist, so this is digits."
            assert advice == "The next make or dvc repro tries again."
