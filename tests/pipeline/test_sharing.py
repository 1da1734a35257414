"""What one has computed and pushed to a remote, another pulls into a clone and does not compute again.

Every command of docs/sharing.md runs here as it stands there.
"""

import contextlib
import getpass
import importlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import docx
import pytest
from clones import PARAMS, ROOT, ran, small_params, tiny_project, titles_of_plots
from pages import Page
from ranks import PATIENCE, free_port

ANOTHER_LAMBDA = small_params(arms={"l2": PARAMS["arms"]["l2"] | {"l2": 0.3}})
S3_ACCOUNT = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.mark.long
def test_nothing_that_was_pushed_to_a_folder_is_computed_again_elsewhere(clone, tmp_path):
    """Nor what had other parameters and was pushed with its run."""
    page = Page("sharing.md", "In a folder")
    here = clone.copied(tmp_path / "here")
    here.shell(page.take("dvc remote add", REMOTE=tmp_path / "remote"))
    here.shell(page.take("git commit"))
    here.shell(page.take("dvc push"))
    pushed_first = runs_in(tmp_path / "remote")
    with here.edited("params.yaml", ANOTHER_LAMBDA):
        assert "train@l2" in ran(here.shell(page.take("dvc repro") + " train@l2"))
        here.shell(page.take("dvc push"))
    assert set() < pushed_first < runs_in(tmp_path / "remote")
    assert here.repro() == ["check"]
    elsewhere = pulled(page, here, tmp_path / "elsewhere")
    with elsewhere.edited("params.yaml", ANOTHER_LAMBDA):
        assert "train@l2" not in ran(elsewhere.shell(page.take("dvc repro --pull") + " train@l2"))
        assert "is cached - skipping run" in elsewhere.printed
    assert page.left == []


@pytest.mark.long
def test_nothing_that_was_pushed_to_s3_is_computed_again_elsewhere(clone, tmp_path):
    page = Page("sharing.md", "In S3")
    page.take("make .venv/remotes")  # `make test-remotes` has done it
    with an_s3_bucket(tmp_path) as url:
        here = clone.copied(tmp_path / "here", **S3_ACCOUNT)
        here.shell(page.take("dvc remote add"))
        here.shell(page.take("dvc remote modify", **{"https://s3.example.org": url}))
        here.shell(page.take("git commit"))
        here.shell(page.take("dvc push"))
        pulled(Page("sharing.md", "In a folder"), here, tmp_path / "elsewhere")
    assert page.left == []


@pytest.mark.long
def test_nothing_that_was_pushed_over_ssh_is_computed_again_elsewhere(clone, tmp_path):
    page = Page("sharing.md", "Over SSH")
    page.take("make .venv/remotes")
    with an_ssh_server(tmp_path) as (home, server):
        here = clone.copied(tmp_path / "here", HOME=str(home))
        here.shell(page.take("dvc remote add", **{"user@host/srv/networks": f"{server}{tmp_path}/remote"}))
        here.shell(page.take("git commit"))
        here.shell(page.take("dvc push"))
        assert runs_in(tmp_path / "remote")
        pulled(Page("sharing.md", "In a folder"), here, tmp_path / "elsewhere")
    assert page.left == []


@pytest.mark.long
def test_a_conflict_in_the_lock_is_solved_by_the_line_of_the_page(tmp_path):
    project = tiny_project(tmp_path)
    params = project.folder / "params.yaml"
    before = params.read_text()
    for branch, edited in (("theirs", re.sub("1$", "2", before)), ("ours", before.replace("1", "3", 1))):
        project.git("checkout", "--quiet", "-b", branch, "main")
        params.write_text(edited)
        project.repro()
        project.commit()
    project.shell("git merge theirs || true")
    unmerged = project.shell("git diff --name-only --diff-filter=U").split()
    assert unmerged == ["dvc.lock", "plots/results.csv"]
    (line,) = re.findall(r"`(git checkout --ours [^`]+)`", (ROOT / "docs/sharing.md").read_text(encoding="utf-8"))
    assert ran(project.shell(line)) == ["evaluate"]  # the training of the other branch comes from the cache
    project.commit()
    assert project.shell("cat metrics/*.json plots/*.csv") == '{"l2": 3}\n{"l2": 2}\n' * 2
    assert project.dvc("status") == "Data and pipelines are up to date.\n"
    assert project.shell("git status --short") == ""


def pulled(page, here, folder):
    """Pull what was pushed into a new clone, in which nothing is left to be run, and give that clone."""
    here.git("clone", "--quiet", ".", str(folder))
    elsewhere = here.in_folder(folder)
    elsewhere.shell("dvc pull split")  # as docs/scaling.md has it
    assert {path.name for path in (elsewhere.folder / "data").iterdir()} == {"split"}
    elsewhere.shell(page.take("dvc pull"))
    assert relative_contents(elsewhere) == relative_contents(here)
    assert (elsewhere.folder / "report.docx").read_bytes() == (here.folder / "report.docx").read_bytes()
    elsewhere.shell(page.take("make plots"))
    shown = (elsewhere.folder / "dvc_plots" / "index.html").read_text(encoding="utf-8")
    assert [title for title in titles_of_plots() if title not in shown] == []
    assert docx.Document(str(elsewhere.folder / "report.docx")).tables
    assert elsewhere.dvc("status") == "Data and pipelines are up to date.\n"
    assert ran(elsewhere.shell(page.take("dvc repro"))) == []
    return elsewhere


def runs_in(remote):
    """List what a remote that is a folder here knows of which parameters and code gave which results."""
    return {path for runs in remote.rglob("runs") for path in runs.rglob("*") if path.is_file()}


def relative_contents(clone):
    return {path.relative_to(clone.folder): content for path, content in clone.contents().items()}


def test_what_s3_needs_agrees_with_the_environment():
    locked, remotes = (
        dict(re.findall(r"^(\S+)==(\S+)", (ROOT / name).read_text(encoding="utf-8"), flags=re.MULTILINE))
        for name in ("requirements.lock", "tests/remotes.lock")
    )
    assert {name: version for name, version in remotes.items() if locked.get(name, version) != version} == {}


@contextlib.contextmanager
def an_s3_bucket(folder):
    """Start a server of S3 with a bucket in it, and give its address."""
    port = free_port()
    with (folder / "server.log").open("w") as log:
        command = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(port)]
        server = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | S3_ACCOUNT)
    try:
        make_bucket(f"http://127.0.0.1:{port}", server)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


def make_bucket(url, server):
    """Wait for the server and make a bucket."""
    client = importlib.import_module("boto3").client(  # which `make test-remotes` installs, with moto
        "s3", endpoint_url=url, aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1"
    )
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            client.create_bucket(Bucket="bucket")
            return
        except Exception:
            assert server.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)


@contextlib.contextmanager
def an_ssh_server(folder):
    """Start a server of SSH that one key opens; give a home with that key, and no other, and user@host:port."""
    sshd, port, home = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin"), free_port(), folder / "home"
    if not sshd or not shutil.which("ssh-keygen"):
        pytest.skip("needs a server of SSH: no sshd here (Debian's package is openssh-server)")
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    user_key, host_key, settings = home / ".ssh" / "id_ed25519", folder / "host_key", folder / "sshd_config"
    for key in (user_key, host_key):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    settings.write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {host_key}\nAuthorizedKeysFile {user_key}.pub\n"
        "PermitRootLogin prohibit-password\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        "UsePAM no\nStrictModes no\nPidFile none\nSubsystem sftp internal-sftp\n"
    )
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # to which it confines the part of itself that has no rights
    with (folder / "sshd.log").open("w") as log:
        server = subprocess.Popen([sshd, "-D", "-e", "-f", settings], stdout=log, stderr=log)
    try:
        wait_for_a_server(port, server, folder / "sshd.log")
        yield home, f"{getpass.getuser()}@127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


def wait_for_a_server(port, server, log):
    deadline = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        assert server.poll() is None and time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)
