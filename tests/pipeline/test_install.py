"""Installation, on a tiny project: what is complete stays, what is not is made so, and a failure takes nothing away."""

import errno
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
from clones import ROOT, Clone

from tools import install

PYTHON = [sys.executable, "-I", "-S"]
INSTALLING = "installing requirements.lock into .venv"
QUICK = """import os, runpy, shutil, signal, venv
def create(folder, **options):
    shutil.copytree({ready!r}, folder, symlinks=True)
    {then}
venv.create = create
runpy.run_path("tools/install.py", run_name="__main__")
"""  # pip is copied with a whole environment; ensurepip would take ten seconds


def add_package(folder, version):
    """Make a package with one script, which prints its version and its environment; name it in the lock by its hash."""
    info, wheel = f"tiny-{version}.dist-info", folder / f"tiny-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as files:
        files.writestr("tiny/__init__.py", f"import sys\n\ndef main():\n    print({version}, sys.prefix)\n")
        files.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: tiny\nVersion: {version}\n")
        files.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        files.writestr(f"{info}/entry_points.txt", "[console_scripts]\ntiny = tiny:main\n")
        files.writestr(f"{info}/RECORD", "")
    checksum = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (folder / "requirements.lock").write_text(f"./{wheel.name} --hash=sha256:{checksum}\n")


class Project:
    """A project whose lock names one package."""

    def __init__(self, folder, ready):
        self.folder, self.ready = folder, ready
        self.environment = folder / ".venv"

    def command(self, then="pass"):
        (self.folder / "quick.py").write_text(QUICK.format(ready=str(self.ready / ".venv"), then=then))
        return [*PYTHON, "quick.py"]

    def run(self, command, **environment):
        env = os.environ | environment
        return subprocess.run(command, cwd=self.folder, env=env, capture_output=True, text=True, check=False)

    def install(self, then="pass"):
        return self.run(self.command(then))

    def says(self):
        """Return what the package's script says, started by its path."""
        done = self.run([self.environment / "bin" / "tiny"])
        assert done.returncode == 0, done.stderr
        return done.stdout

    def works(self, version):
        return self.says() == f"{version} {self.environment}\n" and not list(self.folder.glob(".venv.[no]*"))


@pytest.fixture(scope="module")
def ready(tmp_path_factory):
    """A project as the installation leaves it."""
    folder = tmp_path_factory.mktemp("ready")
    (folder / "tools").mkdir()
    for name in ("tools/install.py", "Makefile"):
        shutil.copy(ROOT / name, folder / name)
    (folder / ".git").mkdir()
    add_package(folder, 1)
    done = subprocess.run([*PYTHON, "tools/install.py"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def project(ready, tmp_path):
    """The same, moved to another folder."""
    folder = tmp_path / "another place"
    shutil.copytree(ready, folder, symlinks=True)
    return Project(folder, ready)


def test_a_moved_folder_s_scripts_run_there_and_nothing_is_installed_again(project):
    assert project.works(1)
    assert project.install().stdout == ""


def test_a_lock_that_was_only_touched_installs_nothing(project):
    os.utime(project.folder / "requirements.lock", (2**32, 2**32))
    done = project.install()
    assert (done.returncode, done.stdout) == (0, "")
    assert project.works(1)


def test_another_lock_replaces_the_environment(project):
    add_package(project.folder, 2)
    assert project.install().returncode == 0
    assert project.works(2)


@pytest.mark.parametrize(
    ("wheel", "linked"),
    [("nowhere.whl", False), ("tiny-1-py3-none-any.whl", True)],
    ids=["missing", "changed"],
)
def test_a_lock_that_cannot_be_installed_leaves_the_old_environment(project, wheel, linked):
    if linked:
        project.environment.rename(project.folder / "elsewhere")
        project.environment.symlink_to("elsewhere")
    (project.folder / "requirements.lock").write_text(f"./{wheel} --hash=sha256:{'0' * 64}\n")
    done = project.install()
    assert done.returncode == 1
    assert done.stderr.endswith("could not be installed: see above; .venv, if no mount point, is as it was\n")
    assert project.works(1)


def test_a_linked_environment_is_left_alone_and_the_link_replaced(project):
    elsewhere = project.folder / "elsewhere"
    project.environment.rename(elsewhere)
    project.environment.symlink_to(elsewhere)
    before = sorted(elsewhere.rglob("*"))
    add_package(project.folder, 2)
    assert project.install().returncode == 0
    assert project.works(2) and not project.environment.is_symlink()
    assert sorted(elsewhere.rglob("*")) == before


def test_an_installation_that_was_killed_leaves_the_old_environment_and_the_next_completes_it(project):
    add_package(project.folder, 2)
    assert project.install("os.kill(os.getpid(), signal.SIGKILL)").returncode == -signal.SIGKILL
    assert project.says().startswith("1 ")
    assert project.install().returncode == 0
    assert project.works(2)


KILLED = "os.kill(os.getpid(), signal.SIGKILL)"
AT_FIRST_RENAME = """import pathlib
    rename = pathlib.Path.rename
    def first(*paths):
        rename(*paths)
        pathlib.Path.rename = rename
        {}
    pathlib.Path.rename = first"""


def test_killed_between_the_two_steps_of_the_swap_the_old_environment_comes_back(project):
    """And the new one in its place at the next make that can build it."""
    add_package(project.folder, 2)
    assert project.install(AT_FIRST_RENAME.format(KILLED)).returncode == -signal.SIGKILL
    assert not project.environment.exists() and (project.folder / ".venv.old").exists()
    assert project.install("raise OSError('no network')").returncode == 1
    assert project.works(1)
    assert project.install().returncode == 0
    assert project.works(2)


def test_interrupted_between_the_two_steps_of_the_swap_the_old_environment_comes_back(project):
    add_package(project.folder, 2)
    done = project.install(AT_FIRST_RENAME.format("raise KeyboardInterrupt"))
    assert (done.returncode, done.stderr) == (1, "interrupted\n")
    assert project.works(1)


def test_a_mount_point_which_cannot_be_renamed_is_emptied_and_filled(project, monkeypatch):
    """As a volume of Docker is one."""
    add_package(project.folder, 2)
    (project.environment / "old").touch()
    renamed = Path.rename

    def busy(path, target):
        if project.environment in (path, target):
            raise OSError(errno.EBUSY, "Device or resource busy", f"{path}")
        return renamed(path, target)

    def create(folder, **options):
        shutil.copytree(project.ready / ".venv", folder, symlinks=True, dirs_exist_ok=True)

    monkeypatch.chdir(project.folder)
    for name, folder in (("ENVIRONMENT", ".venv"), ("NEW", ".venv.new"), ("OLD", ".venv.old")):
        monkeypatch.setattr(install, name, project.folder / folder)
    monkeypatch.setattr(install, "announce", print)
    monkeypatch.setattr(venv, "create", create)
    monkeypatch.setattr(Path, "rename", busy)
    with pytest.raises(OSError, match="busy"):
        install.main()
    assert project.works(1)
    monkeypatch.setattr(os.path, "ismount", lambda path: path == project.environment)
    install.main()
    assert project.works(2) and not (project.environment / "old").exists()


@pytest.mark.parametrize("gone", [".venv", ".venv/bin", ".venv/installed", "tiny/__init__.py"])
def test_whatever_was_deleted_of_the_environment_is_installed_again(project, gone):
    (packages,) = project.environment.glob("lib/python*/site-packages")
    path = (project.folder if gone.startswith(".") else packages) / gone
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    assert project.install().returncode == 0
    assert project.works(1)


@pytest.mark.parametrize("gone", ["bin/tiny", "lib/python*/site-packages/tiny/*.py"])
def test_what_was_deleted_is_seen_where_as_many_files_of_one_s_own_were_added(project, gone):
    (path,) = project.environment.glob(gone)
    path.rename(path.with_name("mine"))
    assert project.install().stdout.startswith(INSTALLING)
    assert project.works(1)


@pytest.mark.parametrize("note", [b"", b"\0\0", b"[]", b"{}", b'{"locks": 3, "contents": null}', b"\xff"])
def test_a_damaged_note_of_what_is_installed_counts_as_none(tmp_path, note):
    (tmp_path / install.NOTE).write_bytes(note)
    assert install.noted(tmp_path, "locks") == install.noted(tmp_path, "contents") == {}


def test_a_folder_in_which_python_makes_no_environment_is_said_in_one_line(project):
    shutil.rmtree(project.environment)
    folder = project.folder.rename(project.folder.with_name("a:b"))
    done = subprocess.run([*PYTHON, "tools/install.py"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("the packages could not be installed: Refusing to create a venv in ")


def test_an_interpreter_that_is_gone_is_replaced(project):
    python = project.environment / "bin" / "python"
    python.unlink()
    python.symlink_to("/nowhere/python3")
    assert project.install().returncode == 0
    assert project.works(1)


def test_an_interpreter_of_another_version_is_no_reason_to_go_without_packages(project):
    (packages,) = project.environment.glob("lib/python*")
    packages.rename(packages.with_name("python3.1"))
    note = project.environment / "installed"
    noted = note.read_text().replace(f'"lib": ["{packages.name}"]', '"lib": ["python3.1"]')
    note.write_text(noted.replace(f"lib/{packages.name}", "lib/python3.1"))
    assert project.install().returncode == 0
    assert project.works(1)


def test_packages_of_one_s_own_and_caches_are_no_reason_to_install(project):
    (packages,) = project.environment.glob("lib/python*/site-packages")
    (packages / "mine").mkdir()
    for cache in list(project.environment.rglob("__pycache__")):
        shutil.rmtree(cache)
    assert project.install().stdout == ""
    assert (packages / "mine").exists()


def test_of_two_at_once_in_a_fresh_clone_one_installs_and_both_succeed(project):
    shutil.rmtree(project.environment)
    command = project.command()
    two = [subprocess.Popen(command, cwd=project.folder, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = sorted(each.communicate()[0] for each in two)
    assert [each.returncode for each in two] == [0, 0]
    assert said == ["", f"{INSTALLING}: 7 GB of disk, several minutes\n"]
    assert project.works(1)


def test_a_further_lock_is_added_once(project):
    lock = project.folder / "requirements.lock"
    main = lock.read_text()
    add_package(project.folder, 2)
    shutil.copy(lock, project.folder / "more.lock")
    lock.write_text(main)
    (project.environment / "bin" / "__pycache__").mkdir(exist_ok=True)  # what Python leaves beside scripts
    said = [project.run([*project.command(), "more.lock"]).stdout for _ in range(2)]
    assert said == ["installing more.lock into .venv: 0.5 GB of disk at most\n", ""]
    assert project.works(2)


@pytest.mark.slow
@pytest.mark.parametrize("setting", ["target", "prefix", "root", "user", "dry-run", "python"])
def test_a_place_in_pip_s_settings_is_not_where_it_installs(project, tmp_path, setting):
    add_package(project.folder, 2)
    elsewhere = tmp_path / "elsewhere"
    value = "true" if setting in ("user", "dry-run") else elsewhere
    section = "global" if setting == "python" else "install"
    (tmp_path / "pip.conf").write_text(f"[{section}]\n{setting} = {value}\n")
    of_pip = {"PIP_CONFIG_FILE": str(tmp_path / "pip.conf"), "PYTHONUSERBASE": str(elsewhere)}
    for variable in ({}, {f"PIP_{setting.upper().replace('-', '_')}": str(value)}):
        (project.environment / "installed").unlink(missing_ok=True)
        done = project.run(project.command(), **of_pip, **variable)
        assert done.returncode == 0, done.stderr
        assert project.works(2) and not elsewhere.exists()


def test_without_git_nothing_is_installed_and_one_line_says_what_to_do(project):
    shutil.rmtree(project.environment)
    (project.folder / ".git").rmdir()
    done = project.install()
    assert done.returncode == 1 and not project.environment.exists()
    assert done.stderr == "DVC needs a git repository: type git init && git add . && git commit -m 'As downloaded'\n"


# make


@pytest.fixture
def configured(project):
    """A project that needs no DVC: its private folder is set already."""
    (project.folder / ".dvc").mkdir()
    (project.folder / ".dvc" / "config.local").write_text("[core]\n    site_cache_dir = /set/by/hand\n")
    return project


def test_variables_that_lead_python_and_pip_elsewhere_do_not_reach_the_installation(configured, tmp_path):
    shutil.copytree(*configured.environment.glob("lib/python*/site-packages"), tmp_path / "elsewhere")
    shutil.rmtree(configured.environment)
    elsewhere = {"PYTHONPATH": str(tmp_path / "elsewhere"), "PYTHONHOME": "/nowhere", "PIP_PYTHON": "/nowhere/python3"}
    install = f"INSTALL={' '.join(configured.command())}"
    (configured.folder / "tools" / "configure.py").write_text("")
    done = configured.run(["make", "install", install], **elsewhere)
    assert done.returncode == 0, done.stderr
    assert configured.works(1)


def test_make_finds_the_tools_where_pythonsafepath_is_set(configured):
    (configured.folder / "tools" / "readme.py").write_text("print('found')")
    done = configured.run(["make", "--old-file=install", "readme"], PYTHONSAFEPATH="1")
    assert done.stdout.endswith("found\n"), done.stderr


@pytest.fixture
def repository(tmp_path):
    """A repository with the templates of the plots, whose environment is that of the tests."""
    folder = tmp_path / "repository"
    shutil.copytree(ROOT / ".dvc" / "plots", folder / ".dvc" / "plots", ignore=shutil.ignore_patterns("*offline*"))
    for name in (".dvc/config", ".dvc/.gitignore", "Makefile", "tools/configure.py", "tools/__init__.py"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(sys.prefix)
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    return folder


def test_settings_of_dvc_that_are_one_s_own_stay(repository):
    config = repository / ".dvc" / "config.local"
    config.write_text("[core]\n    site_cache_dir = /of/mine\n[plots]\n    html_template = /of/mine.html\n")
    before = config.read_bytes()
    subprocess.run(["make", "install", "INSTALL=true"], cwd=repository, check=True)
    assert config.read_bytes() == before


def test_a_home_that_cannot_be_written_is_said_in_one_line(repository):
    env = {name: value for name, value in os.environ.items() if name != "XDG_CACHE_HOME"} | {"HOME": "/dev/null"}
    command = [sys.executable, "-m", "tools.configure"]
    done = subprocess.run(command, cwd=repository, env=env, capture_output=True, text=True, check=False)
    assert done.stderr.startswith("DVC could not be configured: [Errno 20] Not a directory: '/dev/null/.cache/")
    assert done.stderr.endswith("; the folders .dvc and HOME must be whole and writable\n")
    assert not (repository / ".dvc" / "config.local").exists()


NAMELESS = """import pwd, sys
def nobody(uid):
    raise KeyError(f"getpwuid(): uid not found: {uid}")
pwd.getpwuid = nobody
from dvc.cli import main
sys.exit(main(["status"]))
"""


def test_where_the_user_has_no_name_dvc_runs_with_the_variable_of_the_docs(repository, tmp_path):
    page = (ROOT / "docs/elsewhere.md").read_text(encoding="utf-8")
    (name, value) = re.search(r"A container whose user has no name.*set `(\w+)=(\w+)`", page).groups()
    env = {key: each for key, each in os.environ.items() if key not in ("LOGNAME", "USER", "LNAME", "USERNAME")}
    env |= {"DVC_SITE_CACHE_DIR": str(tmp_path / "site")}
    command = [sys.executable, "-c", NAMELESS]
    without, given = (
        subprocess.run(command, cwd=repository, env=env | more, capture_output=True, text=True, check=False)
        for more in ({}, {name: value})
    )
    assert without.returncode != 0 and "getpwuid(): uid not found" in without.stderr
    assert given.returncode == 0, given.stderr


@pytest.mark.slow
def test_two_installations_give_dvc_a_private_folder_and_a_page_that_is_made_again_when_gone_or_old(
    repository, tmp_path
):
    env = {name: value for name, value in os.environ.items() if name != "DVC_SITE_CACHE_DIR"}
    env |= {"XDG_CACHE_HOME": str(tmp_path / "caches"), "USER": "somebody"}

    def run(*command):
        return subprocess.run(command, cwd=repository, env=env, check=True, capture_output=True, text=True).stdout

    page, private = repository / ".dvc" / "plots" / "page-offline.html", tmp_path / "caches" / "dvc-site"
    install = ["make", "install", "INSTALL=true"]
    two = [subprocess.Popen(install, cwd=repository, env=env) for _ in range(2)]
    assert [each.wait() for each in two] == [0, 0]
    settings, whole = (repository / ".dvc" / "config.local").read_text(), page.read_bytes()
    assert settings.split() == f"[core] site_cache_dir = {private} [plots] html_template = plots/{page.name}".split()
    made = page.stat().st_mtime_ns
    run(*install)
    assert page.stat().st_mtime_ns == made  # nothing was to be done
    page.unlink()
    run(*install)
    os.utime(page, (0, 0))  # older than the page that it is made of
    run(*install)
    assert page.stat().st_mtime_ns > made and page.read_bytes() == whole and not list(page.parent.glob(".*.tmp"))
    assert private.stat().st_mode & 0o777 == 0o700
    run(".venv/bin/python", "-m", "dvc", "status")
    assert list((private / "repo").iterdir())  # DVC uses it


# a checkout


def test_text_has_lf_and_binary_files_their_bytes_where_git_is_set_to_crlf(tmp_path):
    origin, clone = tmp_path / "origin", tmp_path / "clone"
    shutil.copytree(ROOT / "docs", origin / "docs")
    shutil.copytree(ROOT / ".dvc" / "plots", origin / "plots", ignore=shutil.ignore_patterns(".gitignore"))
    for name in (".gitattributes", "params.yaml", "dvc.lock", "Makefile"):
        shutil.copy(ROOT / name, origin)
    (origin / "model.safetensors").write_bytes(b"text\r\nas it seems\n")
    crlf = ["git", "-c", "core.autocrlf=true", "-c", "user.name=Test", "-c", "user.email=test@example.org"]
    for command in ("init", "add --all", "commit --message=All"):
        subprocess.run([*crlf, "-C", origin, *command.split()], check=True, capture_output=True)
    subprocess.run([*crlf, "clone", "--quiet", origin, clone], check=True)
    names = [path.relative_to(origin) for path in origin.rglob("*") if path.is_file() and ".git" not in path.parts]
    assert len(names) > 20
    assert [name for name in names if (clone / name).read_bytes() != (origin / name).read_bytes()] == []
    assert subprocess.run([*crlf, "status", "--short"], cwd=clone, check=True, capture_output=True).stdout == b""


# a large disk elsewhere


def test_data_that_is_a_link_out_of_the_project_is_refused_and_what_lies_there_kept(repository, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine").write_text("kept")
    (repository / "data").symlink_to(elsewhere)
    (repository / "dvc.yaml").write_text("stages: {check: {cmd: echo 1 >data/checked.json, outs: [data/checked.json]}}")
    command = [sys.executable, "-m", "dvc", "repro", "check"]
    env = os.environ | {"DVC_SITE_CACHE_DIR": str(tmp_path / "site")}
    done = subprocess.run(command, cwd=repository, env=env, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert done.stderr.splitlines()[-1].endswith(f"is outside of git repository '{repository}'")
    assert (elsewhere / "mine").read_text() == "kept"


@pytest.mark.long
def test_outputs_may_be_links_into_a_cache_on_another_disk(tmp_path):
    clone = Clone(tmp_path)
    clone.dvc("cache", "dir", "--local", str(tmp_path / "large"))
    clone.dvc("config", "--local", "cache.type", "symlink")
    assert clone.repro("check") == ["check"]
    assert (tmp_path / "large") in (clone.folder / "data" / "checked.json").resolve().parents
    assert clone.repro("check") == []
