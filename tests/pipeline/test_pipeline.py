"""The pipeline lists all that its stages read, and a change reruns what depends on it and nothing else."""

import ast
import contextlib
import dataclasses
import importlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from clones import DVC, PARAMS, ROOT, STAGES, small_params
from imports import FACES, PACKAGES, code_of, files_behind, imports_in, lies_in, reached_from, script_of
from runs import copy_of
from samples import SETS, recorded, write_split

import pipeline
import stages
from pipeline import artifacts
from pipeline.data import preprocessing, sources
from pipeline.params import ParamsError, Training, load_params
from pipeline.text import GAP
from stages import download, l2_path, report, timing, train

each_stage = pytest.mark.parametrize("name", STAGES)


def entries(name, *kinds):
    """List what a stage names under some of its headings, as (entry, options)."""
    for kind in kinds:
        for entry in STAGES[name].get(kind, []):
            yield from entry.items() if isinstance(entry, dict) else [(entry, {})]


def named(name, *kinds):
    return [entry for entry, _ in entries(name, *kinds)]


def with_key(text):
    """Put each arm's name where the stage is made once for each arm."""
    return [text.replace("${key}", arm) for arm in PARAMS["arms"]] if "${key}" in text else [text]


def test_no_stage_and_no_module_goes_through_the_face():
    for module in [*(ROOT / "pipeline").rglob("*.py"), *(ROOT / "stages").glob("*.py")]:
        if module.name != "__init__.py":
            for name in imports_in(ast.parse(module.read_text(encoding="utf-8"))):
                package, _, _ = name.partition(".")
                assert package != "pipeline" or list(files_behind(name)), name


@each_stage
def test_a_stage_lists_all_code_that_it_reaches_and_no_folder_without_any(name):
    reached, listed = reached_from(script_of(name)), code_of(name)
    assert {file for file in reached if not any(lies_in(file, dep) for dep in listed)} == set()
    assert {dep for dep in listed if not any(lies_in(file, dep) for file in reached)} == set()


@each_stage
def test_a_stage_depends_on_nothing_that_is_nowhere(name):
    made = {out for stage in STAGES for out in named(stage, "outs", "metrics", "plots")}
    for dep in named(name, "deps"):
        assert any(lies_in(out, dep) for out in made) or (ROOT / dep).exists(), dep


@each_stage
def test_code_is_listed_by_room_or_by_file_and_never_twice(name):
    rooms = {"pipeline/network", "pipeline/data", "pipeline/analysis", "pipeline/report"}
    listed = code_of(name)
    assert all(dep in rooms or dep.endswith(".py") for dep in listed)
    assert not [(file, dep) for file in listed for dep in listed if file != dep and lies_in(file, dep)]


def test_the_reports_room_is_used_by_the_report_alone_but_for_what_the_check_asks_of_titles():
    used = {name: [dep for dep in code_of(name) if lies_in(dep, "pipeline/report")] for name in STAGES}
    drawing = {"report": ["pipeline/report"], "check": ["pipeline/report/drawing.py"]}
    assert {name: deps for name, deps in used.items() if deps} == drawing


def loaded_by(script):
    """Import a stage afresh and list the local files that came with it."""
    ours = [name for name in sys.modules if name.partition(".")[0] in PACKAGES]
    before = {name: sys.modules.pop(name) for name in ours}
    try:
        importlib.import_module(script.removesuffix(".py").replace("/", "."))
        modules = [module for name, module in sys.modules.items() if name.partition(".")[0] in PACKAGES]
        return {Path(module.__file__).relative_to(ROOT).as_posix() for module in modules}
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] in PACKAGES]:
            del sys.modules[name]
        sys.modules.update(before)


@each_stage
def test_a_stage_lists_whatever_python_loads_with_it(name):
    """The network's files are left out: Python loads all of them with the face, used or not."""
    loaded = {file for file in loaded_by(script_of(name)) - FACES if not file.startswith("pipeline/network/")}
    assert {file for file in loaded if not any(lies_in(file, dep) for dep in code_of(name))} == set()


# A room, and what it may import of the pipeline.
ARROWS = {
    "network": {"network"},
    "data": {"data", "text"},
    "analysis": {"analysis", "network"},
    "report": {"report", "analysis", "network", "data", "params"},
}


@pytest.mark.parametrize("room", ARROWS)
def test_arrows_between_rooms_run_one_way(room):
    for module in (ROOT / "pipeline" / room).glob("*.py"):
        for name in imports_in(ast.parse(module.read_text(encoding="utf-8"))):
            package, *inside = name.split(".")
            assert package != "stages", f"{module.name} imports {name}"
            assert package != "pipeline" or inside[0] in ARROWS[room], f"{module.name} imports {name}"


def test_the_network_needs_torch_alone():
    for module in (ROOT / "pipeline" / "network").glob("*.py"):
        packages = {name.partition(".")[0] for name in imports_in(ast.parse(module.read_text(encoding="utf-8")))}
        assert packages <= {"pipeline", "torch", *sys.stdlib_module_names}, module.name


OPENS = {"open", "read_text", "read_bytes", "write_text", "write_bytes", "load_file", "read_csv", "unlink", "mkdir"}
# artifacts: files of results. params: params.yaml. download: files of data. lifetime: the list of running stages.
# stages/__init__: a stage's own code. launch: a private folder for the launcher.
MAY_OPEN = {"pipeline/artifacts.py", "pipeline/params.py", "pipeline/data/download.py"}
MAY_OPEN |= {"stages/lifetime.py", "stages/__init__.py", "stages/launch.py"}


def test_files_of_results_are_opened_by_one_module():
    found = set()
    for module in [*(ROOT / "pipeline").rglob("*.py"), *(ROOT / "stages").glob("*.py")]:
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            of, _, function = ast.unparse(node.func).rpartition(".") if isinstance(node, ast.Call) else ("", "", "")
            if function in OPENS and of != "artifacts":
                found.add(module.relative_to(ROOT).as_posix())
    assert found <= MAY_OPEN


@each_stage
def test_params_exist_and_are_leaves(name):
    """But where a stage needs all arms, or, as the report does, the whole file."""
    for entry, _ in entries(name, "params"):
        for key in with_key(entry) if entry != "params.yaml" else []:
            value = PARAMS
            for part in key.split("."):
                assert part in value, key
                value = value[part]
            assert not isinstance(value, dict) or (key == "arms" and name == "evaluate"), f"{key} is a section"
    assert ("params.yaml" in named(name, "params")) == (name == "report")


def test_every_parameter_is_one_that_some_stage_depends_on():
    """And not only the report, which depends on all of them."""
    used = {key for name in STAGES for entry in named(name, "params") for key in with_key(entry)}
    leaves = {f"{section}.{key}" for section, values in PARAMS.items() if section != "reference" for key in values}
    assert {leaf for leaf in leaves | {"reference"} if not {leaf, leaf.partition(".")[0]} & used} == set()


@pytest.mark.parametrize("name", ["train", "l2_path"])
def test_whatever_training_is_set_to_reruns_it(name):
    settings = {f"training.{field}" for field in Training.model_fields} - {"training.seeds"}
    assert settings <= set(named(name, "params"))


NOT_IN_THE_RUN_CACHE = {"check": ["data/checked.json"]}  # so that no note of stand-in data comes back from there


@each_stage
def test_outputs_are_cached_and_only_metrics_and_plots_are_not(name):
    assert all(options.get("cache", True) for _, options in entries(name, "outs"))
    assert "always_changed" not in STAGES[name]
    assert [entry for entry, options in entries(name, "outs") if "persist" in options] == NOT_IN_THE_RUN_CACHE.get(
        name, []
    )
    small = list(entries(name, "metrics", "plots"))
    assert all(options.get("cache") is False for _, options in small)
    assert all(entry.split("/")[0] in ("metrics", "plots") for entry, _ in small)


LITTER = [".DS_Store", "Thumbs.db", "desktop.ini", "record.json~", ".record.json.swp", ".record.json.4711.tmp"]
LITTER += [
    "._record.json",
    "#record.json#",
    "__pycache__/build.cpython-311.pyc",
    ".ipynb_checkpoints/baseline-checkpoint.json",
]


def test_git_ignores_all_litter_that_dvc_ignores():
    patterns = {name: (ROOT / name).read_text(encoding="utf-8").splitlines() for name in (".dvcignore", ".gitignore")}
    assert {line for line in patterns[".dvcignore"] if line[0] != "#"} <= {*patterns[".gitignore"]}


def test_what_editors_notebooks_and_file_managers_leave_changes_nothing(clone):
    before = clone.dvc("metrics", "show")
    folders = ["models", "models/l2", "metrics", "metrics/mean", "plots", "results", "pipeline/network", "stages"]
    left = [clone.folder / folder / name for folder in folders for name in LITTER]
    made = {path.parent for path in left if not path.parent.exists()}
    try:
        for path in left:
            path.parent.mkdir(exist_ok=True)
            path.write_text('{"litter": 1}')
        assert json.loads(clone.dvc("status", "--json")) == {}
        assert clone.dvc("metrics", "show") == before
        assert clone.run(["git", "ls-files", "--others", "--exclude-standard", *map(str, left)]) == ""
    finally:
        for path in left:
            path.unlink()
        for path in made:
            path.rmdir()


def fail(error):
    def stage(params):
        raise error

    return stage


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ParamsError("params.yaml: it is wrong"), "params.yaml: it is wrong"),
        (ValueError("no such arm"), "train@x: no such arm"),
        (RuntimeError("no data"), "train@x: no data"),
        (MemoryError(), "train@x: the memory of this machine is full"),
        (FileNotFoundError(2, "No such file", "data/x"), "train@x: [Errno 2] No such file: 'data/x'"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_stage_says_in_one_line_what_stopped_it(monkeypatch, error, said):
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as caught:
        stages.run(fail(error), "train@x")
    assert caught.value.code == said


def test_a_stage_in_development_mode_says_where_it_stopped(monkeypatch):
    """As `python -X dev` starts it."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(stages, "sys", SimpleNamespace(flags=SimpleNamespace(dev_mode=True)))
    with pytest.raises(ValueError, match="no such arm"):
        stages.run(fail(ValueError("no such arm")), "train@x")


def test_an_interrupted_stage_fails(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as caught:
        stages.run(fail(KeyboardInterrupt()), "train@x")
    assert caught.value.code == 130
    assert capsys.readouterr().err == "train@x: interrupted\n"


def test_a_bug_is_not_hidden(monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(AttributeError):
        stages.run(fail(AttributeError("x")), "train@x")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder with small parameters, in which stages can be called."""
    (tmp_path / "params.yaml").write_text(small_params(training={"threads": torch.get_num_threads()}))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_batch_larger_than_the_data_is_a_clear_error(folder):
    write_split(folder / "data" / "split", SETS)
    (folder / "params.yaml").write_text(small_params(training={"batch_size": 121}))
    with pytest.raises(SystemExit) as caught:
        stages.run(lambda params: train.main(params, "baseline"), "train@baseline")
    assert caught.value.code == "train@baseline: train wants a batch_size of at most the 120 examples, got 121"
    assert not (folder / "models").exists()


def test_an_arm_that_is_not_there_is_named(folder):
    params = load_params(folder / "params.yaml")
    with pytest.raises(ValueError, match=r"there is no arm 'dropout' in params\.yaml, only baseline, "):
        train.main(params, "dropout")


def test_an_interrupted_training_writes_nothing(folder, monkeypatch):
    def interrupt(snapshot):
        raise KeyboardInterrupt

    write_split(folder / "data" / "split", SETS)
    monkeypatch.setattr(train, "training_shown", lambda *_: contextlib.nullcontext(interrupt))
    with pytest.raises(KeyboardInterrupt):
        train.main(load_params(folder / "params.yaml"), "baseline")
    assert not (folder / "models").exists()


def test_diverged_seeds_are_named_and_the_others_written(folder, capsys):
    write_split(folder / "data" / "split", SETS)
    params = load_params(folder / "params.yaml")
    train.train_ensemble(params, "train@x", folder / "models" / "x", [7, 8], l2=[0.0, 1e6])
    captured = capsys.readouterr()
    assert captured.err == "train@x: seed 8 diverged: its cost or weights were not finite at step 50\n"
    assert "; 1 of 2 reached max_steps, 1 of 2 diverged" in captured.out
    assert artifacts.read_record(pipeline.TrainingResult, folder / "models" / "x").seeds == [7, 8]


def printed_costs(lines):
    pairs = [pair for line in lines for pair in line.split(GAP)]
    return [(int(step), float(cost)) for step, cost in map(str.split, pairs)]


@pytest.mark.parametrize(("arm", "seeds"), [("baseline", [3, 0, 5]), ("l2", [7])])
def test_a_training_says_that_it_begins_and_at_its_end_the_costs_that_l_layer_model_returns(folder, capsys, arm, seeds):
    write_split(folder / "data" / "split", SETS)
    settings = {"max_steps": 600, "patience": 600, "learning_rate": 0.01, "batch_size": 20, "seeds": seeds}
    (folder / "params.yaml").write_text(
        small_params(training=settings, arms={"l2": PARAMS["arms"]["l2"] | {"l2": 0.1}})
    )
    params = load_params(folder / "params.yaml")
    train.main(params, arm)
    begun, *_, title, line = capsys.readouterr().out.splitlines()
    assert begun == f"train@{arm}: 0/600, {len(seeds)} training, cap in ?"
    result = artifacts.read_record(pipeline.TrainingResult, folder / "models" / arm)
    lowest = min(range(len(seeds)), key=lambda k: min(result.validation_costs[:, k]))
    with_penalty = " (with penalty)" * (arm == "l2")
    assert title == f"train@{arm}: headline model, seed {seeds[lowest]}: step and cost{with_penalty}"
    X, Y = stages.examples("train")
    _, costs = pipeline.L_layer_model(
        X, Y, [len(X), *params.network.layers], 0.01, 600, 20, seed=seeds[lowest], l2=params.arms[arm].l2,
        validation=stages.examples("validation"), patience=600, progress=False,
    )  # fmt: skip
    expected = [(100 * k, pytest.approx(cost, abs=6e-5)) for k, cost in enumerate(costs, start=1)]
    assert printed_costs([line]) == expected and len(expected) == 6


def test_lines_of_costs_are_full_and_fit_a_terminal(capsys):
    train._print_costs(recorded([30_000]), "train@x")
    title, *lines = capsys.readouterr().out.splitlines()
    assert title == "train@x: headline model, seed 10: step and cost"
    assert [step for step, _ in printed_costs(lines)] == list(range(100, 30_001, 100))
    assert {len(line) for line in lines} == {72}  # five pairs; six would not fit 80 columns


def test_a_cost_longer_than_a_line_is_printed_too(capsys):
    result = recorded([100])
    train._print_costs(dataclasses.replace(result, costs=result.costs.fill_(1e90)), "train@x")
    assert capsys.readouterr().out.splitlines()[1].endswith("104.0000")


@pytest.mark.parametrize("result", [recorded([50]), recorded([400, 50])], ids=["none", "fewer"])
def test_a_network_that_stopped_early_has_fewer_costs_or_none(result, capsys):
    lowest = torch.tensor([1.0, 0.0])[: len(result.seeds)]
    train._print_costs(dataclasses.replace(result, validation_costs=result.validation_costs * lowest), "train@x")
    assert capsys.readouterr().out == f"train@x: headline model, seed {result.seeds[-1]}: step and cost\n"


def test_how_networks_ended_fits_a_terminal(capsys):
    result = recorded([100] * 16, diverged=[1, 2, 3])
    ends = ["diverged"] * 3 + ["cap reached"] * 5 + ["no improvement"] * 8
    train._say(dataclasses.replace(result, stop_reason=ends), "train@batchnorm")
    said = capsys.readouterr()
    assert max(map(len, (said.out + said.err).splitlines())) <= 80
    words = " ".join(said.out.split())  # of both lines
    assert "3 of 16 diverged" in words and "8 of 16 stopped without a new low" in words


NOBODY_LISTENS = ["http://127.0.0.1:9/", "http://127.0.0.1:9/mnist/"]


@pytest.fixture
def offline(folder, monkeypatch):
    """No source answers; call the download stage with what it is to fall back on."""
    source = dataclasses.replace(sources.SOURCES["mnist"], mirrors=NOBODY_LISTENS)
    monkeypatch.setitem(sources.SOURCES, "mnist", source)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("DATA_MIRROR", str(folder / "empty"))

    def download_with(fallback):
        data = {"dataset": "mnist", "offline_fallback": fallback}
        (folder / "params.yaml").write_text(small_params(data=data))
        stages.run(download.main, "download")

    return download_with


def test_offline_the_bundled_digits_are_used_loudly(offline, folder, capsys):
    offline("digits")
    said = capsys.readouterr()
    assert f"{folder}/empty/: No such file or directory" in said.err
    assert "\nThe next dvc repro tries again.\n" in said.err
    assert "NO SOURCE GAVE mnist: RUNNING ON THE BUNDLED digits INSTEAD." in said.err
    assert said.err.count("!" * 80) == 2
    assert said.out.endswith("\ndigits: 1,438 training and 359 test images\n")
    assert artifacts.read_record(preprocessing.Dataset, folder / "data" / "source").name == "digits"


def test_offline_without_a_fallback_the_stage_fails_and_lists_what_was_tried(offline, folder):
    with pytest.raises(SystemExit) as caught:
        offline(None)
    said, *tried, advice = caught.value.code.splitlines()  # a text as exit code is printed, and the status is 1
    assert said == "download: train-images-idx3-ubyte.gz could not be had from any source:"
    sources = [f"{folder}/empty/", *NOBODY_LISTENS]
    assert [line.rpartition(": ")[0] for line in tried] == [f"  {source}" for source in sources]
    assert "data.dataset to digits" in advice
    assert not (folder / "data").exists()


def test_the_first_run_makes_every_output_and_dvc_writes_no_gitignore(clone):
    for name in STAGES:
        for entry in named(name, "outs", "metrics", "plots"):
            for path in with_key(entry):
                assert (clone.folder / path).exists(), path
    written = {path.relative_to(clone.folder).as_posix() for path in clone.folder.rglob(".gitignore")}
    assert written - {".dvc/tmp/.gitignore"} == {*clone.gitignores}


METRICS = ["cost", "steps", "test", "train", "val"]


def test_metrics_and_plots_carry_the_data_sets_name_and_metrics_every_arm(clone):
    folder, titles = clone.folder / "metrics", [arm["title"] for arm in PARAMS["arms"].values()]
    study = json.loads((folder / "study.json").read_text())
    assert study["dataset"] == "digits"
    assert list(study["arms"]) == list(PARAMS["arms"])
    _, *others = PARAMS["arms"]
    results = artifacts.read_table(clone.folder / "plots" / "results.csv").set_index("arm")
    assert list(results.index) == titles
    for kind in ("headline", "mean"):
        assert {path.name for path in (folder / kind).iterdir()} == {f"{arm}.json" for arm in PARAMS["arms"]}
    for arm, over in study["arms"].items():
        headline, mean = (json.loads((folder / kind / f"{arm}.json").read_text()) for kind in ("headline", "mean"))
        assert list(headline) == list(mean) == METRICS
        row = results.loc[PARAMS["arms"][arm]["title"]]
        assert [headline[name] for name in METRICS] == list(row[["cost", "steps", "test", "train", "validation"]])
        assert mean["test"] == over["mean_test_accuracy"] == row["mean_test"]
        assert mean["steps"] == over["mean_steps"]
        assert ("test_accuracy" in over) == (arm in others)
    for path in (path for path in named("evaluate", "plots") if path.endswith(".csv")):
        table = artifacts.read_table(clone.folder / path)
        assert {*table["dataset"]} == {"digits"}, path
        assert "arm" not in table or list(table["arm"].unique()) == titles, path
    assert {row["arm"] for row in study["plot"]} == {*titles[1:]}


def test_the_table_of_experiments_shows_which_are_of_stand_in_data():
    dropped = re.search(r"--drop '([^']*)'", (ROOT / "Makefile").read_text(encoding="utf-8"))[1].replace("$$", "$")
    columns = [f"metrics/mean/l2.json:{name}" for name in ("dataset", "val", "test")]
    assert [re.match(dropped, column) is None for column in columns] == [True, True, False]


def test_metrics_fit_a_terminal(clone):
    """In 80 columns `dvc metrics show` has a row an arm; of the values only the digits count for the width."""
    arm = f"{list(PARAMS['arms'])[1]}.json"
    headline = dict(zip(METRICS, [0.2412, 11_800, 93.98, 94.43, 94.03], strict=True))
    mean = dict(zip(METRICS, [0.3305, 10_015.6, 91.78, 92.36, 91.54], strict=True))
    with (
        clone.edited(f"metrics/headline/{arm}", json.dumps(headline)),
        clone.edited(f"metrics/mean/{arm}", json.dumps(mean)),
    ):
        clone.commit()
        shown = clone.dvc("metrics", "show").splitlines()
    paths = [f"metrics/{kind}/{name}.json" for kind in ("headline", "mean") for name in PARAMS["arms"]]
    assert [line.split()[0] for line in shown[1:]] == sorted(paths)
    assert max(map(len, shown)) <= 80
    worse = dict(zip(METRICS, [1.3456, 24_145, 77.34, 82.06, 82.92], strict=True))
    with (
        clone.edited(f"metrics/headline/{arm}", json.dumps(worse)),
        clone.edited(f"metrics/mean/{arm}", json.dumps(worse | {"steps": 20_449.1})),
    ):
        diff = clone.dvc("metrics", "diff").splitlines()
    assert {tuple(line.split()[:2]) for line in diff[1:]} == {
        (f"metrics/{kind}/{arm}", name) for kind in ("headline", "mean") for name in METRICS
    }
    assert max(map(len, diff)) <= 80


def test_every_value_of_the_study_can_be_shown_and_compared(clone):
    study = json.loads((clone.folder / "metrics" / "study.json").read_text())
    (shown,) = json.loads(clone.dvc("metrics", "show", "--json", "metrics/study.json"))[""]["data"].values()
    arms = shown["data"]["arms"]
    assert arms == study["arms"]
    arm = list(arms)[-1]
    study["arms"][arm]["test_accuracy"]["difference"] = 12.34
    clone.git("add", "--all")
    clone.git("-c", "user.name=a", "-c", "user.email=a", "commit", "-q", "--allow-empty", "-m", "study")
    with clone.edited("metrics/study.json", json.dumps(study)):
        (changed,) = clone.dvc("metrics", "diff", "--targets", "metrics/study.json").splitlines()[1:]
    assert changed.split()[1] == f"arms.{arm}.test_accuracy.difference"


def test_the_end_shows_where_results_lie_and_last_two_tables_of_them(clone):
    done = subprocess.run(
        [sys.executable, "-m", "tools.summary"], cwd=clone.folder, capture_output=True, text=True, check=True
    )
    _, where, _, title, _, head, *rows = done.stdout.splitlines()
    rows, (blank, means, *gains) = rows[: len(PARAMS["arms"])], rows[len(PARAMS["arms"]) :]
    assert "report.docx" in where and "dvc_plots/index.html" in where
    assert title.startswith("Results on digits: ") and blank == ""
    assert " ".join(head.split()) == "Headline model train validation test iterations epochs seconds"
    assert means.startswith("Test accuracy, n = 3 ")
    for arm, row, gain in zip(PARAMS["arms"], rows, gains, strict=True):
        named = PARAMS["arms"][arm]["title"]
        assert row.startswith(f"{named} ") and gain.startswith(f"{named} ")
        headline = json.loads((clone.folder / "metrics" / "headline" / f"{arm}.json").read_text())
        *_, trained, validation, test, iterations, _, seconds = row.split()
        assert [trained, validation, test] == [f"{headline[name]:.2f}" for name in ("train", "val", "test")]
        assert iterations == f"{headline['steps']:,}" and float(seconds) >= 0
        mean = json.loads((clone.folder / "metrics" / "mean" / f"{arm}.json").read_text())
        assert f" {mean['test']:.2f} ± " in gain
    assert max(map(len, done.stdout.splitlines())) <= 80
    makefile = (ROOT / "Makefile").read_text()
    recipe = makefile.partition("\nall: install\n")[2].partition("\n\n")[0].splitlines()
    assert recipe[-1] == "\t@python -m tools.summary"
    assert "Warning" not in clone.printed_first


def test_all_that_a_run_prints_fits_a_terminal(clone):
    assert [line for line in clone.printed_first.splitlines() if len(line) > 80 and "\tgit add " not in line] == []


def test_the_test_set_does_not_reach_training():
    for name in ("train", "l2_path"):
        assert not {"data/split", "data/split/test", "data/source"} & set(named(name, "deps"))


def test_a_second_run_runs_nothing(clone):
    assert clone.repro() == []


@pytest.mark.slow
def test_a_changed_and_a_new_arm_are_trained_alone_and_changing_back_runs_the_check_alone(clone, tmp_path):
    """An arm is four lines and no code."""
    here = copy_of(clone, tmp_path)
    before = here.contents()
    changed = PARAMS["arms"]["l2"] | {"l2": 0.5}
    new = {"title": "Batch norm and L2", "use_batchnorm": True, "l2": 0.01}
    with here.edited("params.yaml", small_params(arms={"l2": changed, "batchnorm_l2": new})):
        assert here.repro("evaluate") == ["check", "evaluate", "train@batchnorm_l2", "train@l2"]
        assert json.loads(here.dvc("status", "--json")).keys() == {"report"}
    arms = {*PARAMS["arms"], "batchnorm_l2"}
    study = json.loads((here.folder / "metrics" / "study.json").read_text())
    assert list(study["arms"]) == sorted(arms)
    titles = {new["title"], *(arm["title"] for arm in PARAMS["arms"].values())}
    for plot in ("accuracy", "confusion", "costs", "curves", "results", "seeds", "weights"):
        assert {*artifacts.read_table(here.folder / "plots" / f"{plot}.csv")["arm"]} == titles
    shutil.rmtree(here.folder / "models" / "batchnorm_l2")  # dvc leaves what no stage makes any more
    assert here.contents() != before
    assert here.repro() == ["check"]
    assert here.contents() == before


TRAINING = {f"train@{arm}" for arm in PARAMS["arms"]} | {"l2_path"}
EDITS = {
    "pipeline/report/build.py": {"report": "pipeline/report"},
    "pipeline/network/backward.py": dict.fromkeys(TRAINING | {"timing", "report"}, "pipeline/network"),
    "pipeline/network/forward.py": dict.fromkeys(TRAINING | {"timing", "report"}, "pipeline/network")
    | {"evaluate": "pipeline/network/forward.py"},
    "pipeline/analysis/comparison.py": dict.fromkeys(["evaluate", "report"], "pipeline/analysis"),
}


@pytest.mark.parametrize("module", EDITS)
def test_an_edit_changes_the_stages_that_use_its_room_and_no_other(module):
    """Evaluation does not depend on the backward pass, but on the models, which a training may change.

    That DVC sees it so is tested with faults, in test_same_bytes.
    """
    found = {
        stage: dep
        for name in STAGES
        for dep in code_of(name)
        for stage in ([f"{name}@{arm}" for arm in PARAMS["arms"]] if "foreach" in DVC["stages"][name] else [name])
        if lies_in(module, dep)
    }
    assert found == EDITS[module]


def test_a_comment_in_params_yaml_runs_the_check_alone(clone):
    params = (clone.folder / "params.yaml").read_text(encoding="utf-8")
    with clone.edited("params.yaml", f"{params}\n# a comment\n"):
        status = json.loads(clone.dvc("status", "--json"))
    assert status == {"check": [{"changed deps": {"params.yaml": "modified"}}]}


SHIPPED = load_params(ROOT / "params.yaml")


def test_every_lambda_of_the_path_is_trained_with_every_seed(monkeypatch):
    caught = {}
    monkeypatch.setattr(l2_path, "train_ensemble", lambda *data, l2: caught.update(seeds=data[3], l2=l2))
    l2_path.main(SHIPPED)
    pairs = list(zip(caught["l2"], caught["seeds"], strict=True))
    assert pairs == [(value, seed) for value in SHIPPED.l2_path.values for seed in SHIPPED.l2_path.seeds]


def test_the_stage_times_as_params_yaml_says_and_keeps_steps_apart_from_checks(monkeypatch):
    def time_steps(*data, **given):
        caught.update(given)
        return {"plain": [1.0]}, {"plain": [2.0]}

    caught, written = {}, []
    params = SHIPPED.model_copy(update={"timing": SHIPPED.timing.model_copy(update={"rounds": 3, "steps": 50})})
    monkeypatch.setattr(timing, "examples", lambda name, device: (torch.zeros(784, 3), torch.zeros(10, 3)))
    monkeypatch.setattr(timing, "time_steps", time_steps)
    monkeypatch.setattr(artifacts, "write_record", lambda folder, record: written.append(record))
    timing.main(params)
    assert (caught["rounds"], caught["steps"], caught["compile"]) == (3, 50, params.training.compile)
    assert (written[0].seconds_per_step, written[0].seconds_per_check) == ({"plain": [1.0]}, {"plain": [2.0]})


def test_the_gradients_of_the_report_are_those_on_the_training_set(trained, monkeypatch):
    def first_gradient_norms(X, Y, result):
        asked.append(X)

    asked, read = [], artifacts.read_record
    monkeypatch.chdir(trained)
    absent = ("timing", "l2_path")  # nobody looks at them here
    monkeypatch.setattr(artifacts, "read_record", lambda kind, at: None if at.name in absent else read(kind, at))
    monkeypatch.setattr(artifacts, "write_bytes", lambda path, content: None)
    monkeypatch.setattr(report, "first_gradient_norms", first_gradient_norms)
    monkeypatch.setattr(report, "require_same_networks", lambda *data: None)
    monkeypatch.setattr(report, "build_report", lambda study: b"")
    report.main(SHIPPED)
    X, _ = stages.examples("train")
    assert asked and all(torch.equal(each, X[:, : each.shape[1]]) for each in asked)
