"""A damaged object of DVC's cache, which DVC takes for whole: it is found, and the commands that are named heal it."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from clones import ROOT

from tools import verify

DVC_YAML = """
stages:
  first:
    cmd: mkdir -p out && echo 1 > out/a && echo 2 > out/b
    outs: [out]
  second:
    cmd: cp out/a last
    deps: [out]
    outs: [last]
"""
A, LIST = "b026324c6904b2a9cb4b88d6d61c81d1", ".dir"  # the object of out/a and last, and the list of out


def shell(folder, command):
    env = os.environ | {"PYTHONPATH": str(ROOT), "DVC_SITE_CACHE_DIR": str(folder / ".site"), "DVC_NO_ANALYTICS": "1"}
    command = command.replace("python ", f"{sys.executable} ").replace("dvc ", f"{sys.executable} -m dvc ")
    done = subprocess.run(command, shell=True, cwd=folder, env=env, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def damage(path, content):
    """Change a file as a loss of power may: its time and its protection stay."""
    stat = path.stat()
    path.chmod(0o644)
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    path.chmod(stat.st_mode)


BOTH = ["first: out", "second: last"]


@pytest.mark.long
@pytest.mark.parametrize(
    ("ending", "content", "said"),
    [(A[2:], b"", BOTH), (A[2:], b"3\n", BOTH), (LIST, b"", ["first: out"])],
    ids=["empty", "flipped", "an empty list"],
)
def test_a_damaged_object_is_named_and_healed(tmp_path, ending, content, said):
    (tmp_path / "dvc.yaml").write_text(DVC_YAML)
    shutil.copy(ROOT / ".dvcignore", tmp_path)
    assert shell(tmp_path, "git init --quiet && dvc init --quiet && dvc repro --quiet") == (0, "")
    (path,) = (each for each in tmp_path.glob(".dvc/cache/files/md5/??/*") if each.name.endswith(ending))
    damage(path, content)
    shell(tmp_path, "rm -r out last && dvc checkout --quiet; dvc repro --force --quiet")
    status, lines = shell(tmp_path, "python -m tools.verify")
    assert status == 1
    healed = [line.split(" is damaged; to make it again: ") for line in lines.splitlines()]
    assert [each for each, _ in healed] == said
    for _, commands in healed:
        assert shell(tmp_path, commands)[0] == 0
    assert shell(tmp_path, "python -m tools.verify && dvc status --quiet")[0] == 0
    assert [(tmp_path / name).read_text() for name in ("out/a", "out/b", "last")] == ["1\n", "2\n", "1\n"]


def test_only_an_output_is_removed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("dvc.lock").write_text("stages: {a: {outs: [{path: out, md5: ab}]}}")
    for name in ("mine", "out"):
        Path(name).write_text("")
    with pytest.raises(SystemExit, match=r"^mine is in no output that dvc\.lock names$"):
        verify.remove(Path("cache"), Path("mine"))
    verify.remove(Path("cache"), Path())  # a folder of outputs
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dvc.lock", "mine"]


def test_outputs_that_are_not_here_are_counted(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["verify"])
    monkeypatch.setattr(verify, "cache_folder", lambda: Path("cache"))
    Path("dvc.lock").write_text("stages: {a: {outs: [{path: out, md5: ab}, {path: gone, md5: cd}]}}")
    verify.main()
    assert capsys.readouterr().out.endswith("outputs that are not here: 2; to get them: dvc repro\n")


def test_an_empty_path_removes_nothing(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["verify", "--remove", ""])
    monkeypatch.setattr(verify, "remove", lambda cache, path: pytest.fail("it removes all outputs"))
    with pytest.raises(SystemExit):
        verify.main()
    assert "--remove got an empty path" in capsys.readouterr().err


def test_a_forged_list_of_a_folder_removes_nothing_outside_the_cache(tmp_path):
    kept, cache = tmp_path / "kept", tmp_path / "cache"
    kept.write_text("mine")
    (cache / "aa").mkdir(parents=True)
    forged = [{"md5": f"..{kept}", "relpath": "a"}, {"md5": A, "relpath": "b"}]
    (cache / "aa" / f"{'b' * 30}.dir").write_text(json.dumps(forged))
    assert verify.objects_of(cache, f"aa{'b' * 30}.dir") == {f"aa{'b' * 30}.dir", A}


def test_an_output_that_is_not_in_the_cache_is_compared_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lock = "stages: {a: {outs: [{path: kept, md5: %s}, {path: edited, md5: %s}, {path: gone, md5: %s}]}}"
    (tmp_path / "dvc.lock").write_text(lock % (A, A, A))
    (tmp_path / "kept").write_text("1\n")
    (tmp_path / "edited").write_text("2\n")
    (said,) = verify.verify(tmp_path / "no-cache")
    assert said.startswith("a: edited is damaged; ")


LEFT = [".DS_Store", "Thumbs.db", "desktop.ini", "a~", ".a.swp", ".a.12.tmp", "deep/.DS_Store", "__pycache__/a.pyc"]


@pytest.mark.parametrize("left", [*LEFT, ".ipynb_checkpoints/a"])
def test_what_file_managers_and_editors_leave_in_an_output_is_no_damage(tmp_path, monkeypatch, left):
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / ".dvcignore", tmp_path)
    for name in ("out/a", "out/deep/b"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1\n")
    whole = verify.md5_of(Path("out"))
    (tmp_path / "out" / left).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "out" / left).write_text("left")
    assert verify.md5_of(Path("out")) == whole
    (tmp_path / "out" / "mine").write_text("1\n")
    assert verify.md5_of(Path("out")) != whole


def hole(path):
    """Put something in place that can be opened and not read."""
    path.symlink_to("/proc/self/mem")


def loop(path):
    path.symlink_to(path.name)


UNREADABLE = {
    "a folder": (Path.mkdir, "is damaged"),
    "a pipe": (os.mkfifo, "is damaged"),
    "a link to itself": (loop, "is damaged"),
    "an I/O error": (hole, r"cannot be read \(cache/b0/\w+: Input/output error\)"),
}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the file that cannot be read is Linux's")
@pytest.mark.parametrize("case", UNREADABLE)
@pytest.mark.parametrize("used", [True, False])
def test_an_object_that_cannot_be_read_is_said_in_one_line_that_heals_it(tmp_path, monkeypatch, case, used):
    monkeypatch.chdir(tmp_path)
    make, fault = UNREADABLE[case]
    Path("dvc.lock").write_text(f"stages: {{first: {{outs: [{{path: out, md5: {A if used else 'b' * 32}}}]}}}}")
    Path("cache/b0").mkdir(parents=True)
    make(path := Path("cache/b0") / A[2:])
    (said,) = verify.verify(Path("cache"))
    if used:
        assert re.fullmatch(rf"first: out {fault}; to make it again: python -m tools\.verify --remove out && .*", said)
        verify.remove(Path("cache"), Path("out"))
    else:
        assert re.fullmatch(rf"{path} {fault}, and no output in dvc\.lock uses it: rm -rf {path}", said)
        subprocess.run(said.partition("uses it: ")[2], shell=True, check=True)
    assert list(verify.verify(Path("cache"))) == [] and not os.path.lexists(path)


def test_a_folder_that_cannot_be_listed_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("cache/files/md5/b0").mkdir(parents=True)
    listed = Path.iterdir

    def denied(folder):
        if f"{folder}".endswith("b0"):
            raise PermissionError(13, "Permission denied", f"{folder}")
        return listed(folder)

    monkeypatch.setattr(Path, "iterdir", denied)
    monkeypatch.setattr(verify, "dvc", lambda *command: f"{tmp_path}/cache\n")
    monkeypatch.setattr(sys, "argv", ["verify"])
    with pytest.raises(SystemExit, match=r"^cache/files/md5/b0: Permission denied; correct its kind, owner or perm"):
        verify.main()


def test_a_damaged_setting_of_dvc_is_said_in_one_line(tmp_path):
    shell(tmp_path, "git init --quiet && dvc init --quiet")
    (tmp_path / ".dvc" / "config.local").write_text("[core")
    (tmp_path / "dvc.yaml").write_text("stages: [")
    status, said = shell(tmp_path, "python -m tools.verify")
    assert (status, said.count("\n")) == (1, 1)
    assert said.endswith(" at line 1.; correct .dvc/config.local, or delete it and type make\n")


@pytest.mark.parametrize("content", [b"\xff", b"[z-a]\n", "a folder"])
def test_what_dvc_ignores_is_read_or_named(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    Path("out").mkdir()
    Path("out/a").write_text("1\n")
    without = verify.md5_of(Path("out"))  # no .dvcignore
    Path(".dvcignore").write_text("nothing\n")
    assert verify.md5_of(Path("out")) == without
    Path(".dvcignore").unlink()
    Path(".dvcignore").mkdir() if content == "a folder" else Path(".dvcignore").write_bytes(content)
    with pytest.raises(
        SystemExit, match=r"^\.dvcignore cannot be read: .*; to take the committed one: git checkout \S+$"
    ):
        verify.md5_of(Path("out"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "dvc.lock cannot be read: No such file or directory"),
        (b"", "dvc.lock cannot be read: "),
        (b"stages: [", "dvc.lock cannot be read: "),
        (b"stages: {a: 1}", "dvc.lock cannot be read: "),
        (b"stages: {a: {outs: [{path: 1, md5: 2}]}}", "dvc.lock cannot be read: "),
        (b"<<<<<<< HEAD\nstages: {}\n", "dvc.lock cannot be read: "),
        (b"\xff", "dvc.lock cannot be read: "),
    ],
)
def test_a_lock_that_is_missing_or_damaged_is_said_in_one_line(tmp_path, monkeypatch, content, said):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / "dvc.lock").write_bytes(content)
    with pytest.raises(SystemExit) as ended:
        list(verify.verify(tmp_path / "cache"))
    assert ended.value.code.startswith(said) and ended.value.code.isprintable()
