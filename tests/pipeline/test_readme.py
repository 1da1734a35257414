"""What the README shows is true: its table, its numbers, its commands, its Python and its pictures."""

import ast
import functools
import importlib.util
import inspect
import io
import itertools
import json
import math
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import docx
import numpy as np
import pandas as pd
import pytest
import torch
from clones import STAGES
from dvc.cli.parser import get_main_parser
from pandas import DataFrame, Series
from scipy.stats import binomtest

import pipeline
import stages
from pipeline import artifacts
from pipeline.analysis.statistics import CONFIDENCE, Comparison
from pipeline.analysis.timing import KINDS, Timing
from pipeline.params import load_params
from pipeline.report.wording import ROUNDING, clear_side
from tools import one_example, readme, summary

README = Path("README.md").read_text(encoding="utf-8")
PARAMS = load_params(Path("params.yaml"))
PYTHON = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def committed(path):
    """Read a file as committed: a run on another machine may differ in the last digits."""
    return subprocess.run(["git", "show", f"HEAD:{path}"], capture_output=True, text=True, check=True).stdout


def test_the_table_is_that_of_the_committed_metrics():
    table = readme.table(pd.read_csv(io.StringIO(committed("plots/results.csv"))))
    assert table in README
    assert all(arm.title in table for arm in PARAMS.arms.values())


def test_a_difference_without_an_interval_is_written_alone():
    numbers = {"test": 90.0, "validation": 90.0, "train": 90.0, "steps": 9650, "epochs": 102.93}
    arms = {"arm": ["Baseline", "L2"], "mean_test": [90.0, 91.0], "sd_test": [1.0, 0.5]}
    results = DataFrame(arms | numbers | {"difference": [math.nan, -1.0], "low": math.nan, "high": math.nan})
    *_, first, second = readme.table(results).splitlines()
    assert first == "| Baseline | 90.00 | 90.00 | 90.00 | 9,650 | 102.9 | 90.00 ± 1.00 |  |"
    assert second.endswith("| 91.00 ± 0.50 | -1.00 |")
    assert readme.table(results.assign(sd_test=math.nan)).endswith("| 91.00 | -1.00 |")  # of one network each


@pytest.mark.parametrize(
    ("accuracies", "said"),
    [
        ({"A": [90, 91], "B": [92, 93], "C": [80, 81]}, "B has the highest median, 92.5 %"),
        ({"A": [90, 91], "B": [70, 99], "C": [80, 90]}, "A has the highest median, 90.5 %, but the arms overlap"),
        ({"A": [90]}, "A has the highest median, 90.0 %"),
    ],
)
def test_the_title_of_the_picture_of_all_networks_is_what_the_numbers_say(accuracies, said):
    assert readme.finding({arm: Series(values) for arm, values in accuracies.items()}) == said


def test_a_title_with_a_bar_stays_in_its_cell():
    table = pd.read_csv(io.StringIO(committed("plots/results.csv"))).replace({"arm": {"L2": "L1 | L2"}})
    assert readme.table(table).splitlines()[-1].startswith(r"| L1 \| L2 | ")


FILES = {
    summary: ["plots/results.csv", "results/timing/record.json"],
    readme: ["plots/results.csv", "plots/seeds.csv", "models/baseline/record.json"],
}
DAMAGES = {
    "missing": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "no text": lambda path: path.write_bytes(b"\xff"),
    "a line": lambda path: path.write_text("arm,steps\n"),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("damage", [None, *DAMAGES])
@pytest.mark.parametrize(("tool", "name"), [(tool, name) for tool, names in FILES.items() for name in names])
def test_a_damaged_result_is_said_in_one_line_with_what_heals_it(trained, tmp_path, monkeypatch, tool, name, damage):
    """By the summary that `make` ends with, and by `make readme`."""
    tables = {Path(path): committed(path) for path in ("plots/results.csv", "plots/seeds.csv")}
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    Path("plots").mkdir()
    for path, table in tables.items():
        path.write_text(table, encoding="utf-8")
    seconds = {kind: [0.1] for kind in KINDS}
    artifacts.write_record(Path("results/timing"), Timing("cpu", seconds, seconds))
    Path("README.md").write_text("<!-- results -->\nold\n<!-- end -->", encoding="utf-8")
    Path("report.docx").write_bytes(b"report")
    monkeypatch.setattr(readme.shutil, "which", lambda program: None)
    monkeypatch.setattr(readme, "distribution", lambda networks: b"drawn")
    if damage is None:
        stages.run(tool.main, "tool")
        return
    DAMAGES[damage](Path(name))
    with pytest.raises(SystemExit) as ended:
        stages.run(tool.main, "tool")
    heals = r"to make it( again: python -m tools\.verify --remove \S+ &&|( again)?:) dvc repro"
    assert re.fullmatch(rf"tool: {name.removesuffix('/record.json')} .*; {heals}", ended.value.code)
    assert "old" in Path("README.md").read_text(encoding="utf-8") and not Path("docs").exists()


def test_results_of_stand_in_data_do_not_come_into_the_readme(tmp_path, monkeypatch):
    of_digits = committed("plots/results.csv").replace("mnist,", "digits,")
    monkeypatch.chdir(tmp_path)
    Path("plots").mkdir()
    Path("plots/results.csv").write_text(of_digits, encoding="utf-8")
    said = r"^the results are of digits, not of mnist: run dvc repro first$"
    with pytest.raises(ValueError, match=said):
        readme.main(PARAMS)


def test_results_of_an_earlier_run_are_not_called_stand_in_data(tmp_path, monkeypatch):
    other = PARAMS.model_copy(update={"data": PARAMS.data.model_copy(update={"dataset": "kmnist"})})
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots/results.csv").write_text(committed("plots/results.csv"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ValueError, match=r"^plots/results\.csv is of mnist, not of kmnist; to make it again: dvc repro$"
    ):
        summary.main(other)


def test_a_readme_without_marks_is_said(tmp_path, monkeypatch):
    for path in ("plots/seeds.csv", "plots/results.csv"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(committed(path), encoding="utf-8")
    (tmp_path / "README.md").write_text("old", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"^README\.md lacks the lines <!-- results --> and <!-- end -->"):
        readme.main(PARAMS)


def test_a_picture_that_fails_leaves_the_readme_and_the_other_pictures_as_they_were(tmp_path, monkeypatch):
    for path in ("params.yaml", "plots/seeds.csv", "plots/results.csv"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(committed(path), encoding="utf-8")
    (tmp_path / "README.md").write_text("<!-- results -->\nold\n<!-- end -->", encoding="utf-8")
    (tmp_path / "report.docx").write_bytes(b"report")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(readme.shutil, "which", lambda program: None if program == "chromium" else program)
    monkeypatch.setattr(readme, "distribution", lambda networks: b"new")
    monkeypatch.setattr(readme, "one_digit", lambda params: b"digit")
    monkeypatch.setattr(readme, "report_page", lambda report, number: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        readme.main(PARAMS)
    assert "old" in Path("README.md").read_text(encoding="utf-8")
    assert not Path("docs").exists()
    monkeypatch.setattr(readme, "report_page", lambda report, number: b"page")
    readme.main(PARAMS)
    assert "| Baseline |" in Path("README.md").read_text(encoding="utf-8")
    made = {path.name: path.read_bytes() for path in Path("docs").iterdir()}
    assert made == {"seeds.png": b"new", "network.png": b"digit", "report.png": b"page", "report.docx": b"report"}


def test_the_picture_of_a_digit_has_each_class_beside_its_unit(monkeypatch):
    caught = []
    monkeypatch.setattr(one_example.Figure, "savefig", lambda figure, content: caught.append(figure))
    monkeypatch.setattr(one_example, "Image", SimpleNamespace(open=lambda content: None))
    monkeypatch.setattr(one_example, "in_few_colours", lambda image: b"")
    one_example.one_example(np.zeros(784), [784, 20, 7, 5, 10], np.full(10, 0.1), [*"0123456789"])
    (figure,) = caught
    figure.draw_without_rendering()
    _, middle, right = figure.axes
    units = middle.transData.transform(middle.collections[-1].get_offsets())[:, 1]
    bars = [right.transData.transform((0, bar.get_y() + bar.get_height() / 2))[1] for bar in right.patches]
    labels = {label.get_text(): label.get_window_extent() for label in right.get_yticklabels()}
    assert units.tolist() == pytest.approx(bars)
    for place, box in zip(units, labels.values(), strict=True):
        assert box.y0 < place < box.y1
    assert [*labels] == [*"0123456789"] and units[0] > units[-1]  # 0 is on top


def test_the_report_beside_the_docs_has_the_committed_metrics():
    report = docx.Document("docs/report.docx")
    rows = {row.cells[0].text: [cell.text for cell in row.cells] for row in report.tables[0].rows}
    for column, arm in enumerate(PARAMS.arms, start=1):
        headline, mean = (json.loads(committed(f"metrics/{kind}/{arm}.json")) for kind in ("headline", "mean"))
        assert rows["Test accuracy (%)"][column] == f"{headline['test']:.2f}"
        assert rows["Mean test accuracy, all networks (%)"][column].startswith(f"{mean['test']:.2f}")
    assert Path("docs/report.docx").stat().st_size < 2**20


@pytest.mark.slow
def test_its_python_runs_as_written():
    code = PYTHON[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *costs, last = done.stdout.splitlines()
    assert len(costs) == 20 and costs[0].startswith("step    100  cost ")
    assert float(last.split()[0]) > 80


def test_the_linear_backward_that_it_shows_is_that_of_the_code():
    shown = {}
    exec(PYTHON[0], shown)
    A_prev, W, b, dZ = (torch.randn(shape, dtype=torch.float64) for shape in ((4, 6), (3, 4), (3, 1), (3, 6)))
    for theirs, wanted in zip(
        shown["linear_backward"](dZ, (A_prev, W, b)), pipeline.linear_backward(dZ, (A_prev, W, b)), strict=True
    ):
        torch.testing.assert_close(theirs, wanted, rtol=1e-12, atol=1e-12)
    source = textwrap.dedent(inspect.getsource(pipeline.linear_backward))
    ours = {ast.unparse(line.value) for line in ast.walk(ast.parse(source)) if isinstance(line, ast.Assign)}
    assert {"_sum_to(W.mT @ dZ, A_prev) if input_gradient else None", "dZ @ A_prev.mT / m"} <= ours
    assert {"dW = dZ @ A_prev.mT / m", "dA_prev = W.mT @ dZ"} <= {line.strip() for line in PYTHON[0].splitlines()}


def commands(page):
    """List the commands of a page, in blocks and within lines, without comments and variables."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", page, flags=re.DOTALL))
    lines = [re.sub(r"\s+#.*", "", line) for line in ["\n".join(blocks).splitlines(), inline] for line in line]
    parts = [part for line in lines for part in re.split(r" && | \|\| |; ", line)]
    return {re.sub(r"^(?:[A-Z_]+=\S+ )+", "", part).strip() for part in parts}


@pytest.mark.parametrize("path", [Path("README.md"), *sorted(Path("docs").glob("*.md"))], ids=str)
def test_every_make_dvc_and_python_command_that_a_page_names_is_one(path):
    targets = re.findall(r"^([\w./-]+(?: [\w./-]+)*):(?!=)", Path("Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    known = {name for each in targets for name in each.split()}
    for command in commands(path.read_text(encoding="utf-8")):
        match command.split():
            case ["make", *named]:
                assert {name for name in named if "=" not in name} <= known, command
            case ["dvc", _, *_]:
                get_main_parser().parse_args(shlex.split(command)[1:])  # an unknown word or option is an error
            case ["python", "-m", module, *_]:
                assert importlib.util.find_spec(module), command


def test_readme_names_what_a_reader_types_and_it_runs():
    named = commands(README)
    assert {"make", "make test", "make plots", "make readme", "make clean", "dvc repro", "dvc plots diff HEAD"} <= named
    for command in {command for command in named if command.startswith("dvc metrics ")}:
        subprocess.run([sys.executable, "-m", *command.split()], check=True, capture_output=True)


def test_what_it_says_reruns_is_what_depends_on_that_parameter():
    said = re.search(r"^dvc repro +# reruns (.*), nothing else", README, re.MULTILINE)[1]
    named = set(re.split(r", | and ", said))
    reruns, changed = set(), {"params.yaml"}
    for name in ("check", "download", "split", "train", "l2_path", "evaluate", "timing", "report"):
        stage = STAGES[name]
        outs = [next(iter(out)) if isinstance(out, dict) else out for out in stage["outs"]]
        params = [key.replace("${key}", "l2") for key in stage.get("params", []) if isinstance(key, str)]
        if any("arms.l2.l2.".startswith(f"{key}.") for key in params) or changed & set(stage["deps"]):
            reruns.add(f"{name}@l2" if "${key}" in stage["cmd"] else name)
            changed |= {out.partition("/")[0] for out in outs if name != "check"}  # whose output is a constant
    assert named == reruns


def test_it_explains_every_column_of_the_metrics_and_what_a_difference_holds():
    rows = set(re.findall(r"`(\w+)`", "\n".join(re.findall(r"^\| `.*$", README, re.MULTILINE))))
    assert set(json.loads(committed("metrics/headline/baseline.json"))) <= rows
    compared = json.loads(committed("metrics/study.json"))["arms"]["batchnorm"]["test_accuracy"]
    assert set(compared) <= rows


def test_it_explains_every_key_of_the_study():
    of_arms = json.loads(committed("metrics/study.json"))["arms"].values()
    assert {key for arm in of_arms for key in arm} <= set(re.findall(r"`(\w+)`", README))


def test_its_diagram_has_the_arrows_of_the_pipeline():
    chains = re.search(r"```mermaid\nflowchart LR\n(.*?)```", README, re.DOTALL)[1].splitlines()
    names = [[end.partition("[")[0].strip() for end in chain.split("-->")] for chain in chains]
    drawn = {pair for chain in names for pair in itertools.pairwise(chain)}
    makes = {}
    for name, stage in STAGES.items():
        for out in stage["outs"]:
            makes[(next(iter(out)) if isinstance(out, dict) else out).partition("/${")[0]] = name
    reads = {
        (maker, name)
        for name, stage in STAGES.items()
        for dep in stage["deps"]
        for made, maker in makes.items()
        if f"{dep}/".startswith(f"{made}/") or f"{made}/".startswith(f"{dep}/")
    }
    through = {(first, last) for first, middle in reads for start, last in reads if middle == start}
    assert drawn == reads - through


def alone(arm):
    """Return the seed that makes most of an arm's difference in test accuracy from the baseline, and its per cent."""
    networks = pd.read_csv(io.StringIO(committed("plots/seeds.csv"))).pivot(index="seed", columns="arm")
    differences = networks["test_accuracy"][arm] - networks["test_accuracy"]["Baseline"]
    return differences.idxmax(), 100 * differences.max() / differences.sum()


TEXT = re.sub(r"(?s)```.*?```|<!-- results -->.*?<!-- end -->|\]\([^)]*\)|`[^`]*`", " ", README)
WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
WORDS += ["eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen"]


def test_every_number_in_its_text_is_that_of_the_study_or_measured():
    networks = len(PARAMS.training.seeds)
    layers = [784, *PARAMS.network.layers]
    results = pd.read_csv(io.StringIO(committed("plots/results.csv")))
    expected = results[["mean_test", "test"]]
    seed, part = alone("L2")
    assert 45 < part < 55  # "half of L2's difference"
    p = [binomtest(count, networks).pvalue for count in range(networks + 1)]  # of the sign test
    clear = next(count for count in range(networks // 2, networks + 1) if p[count] < 1 - CONFIDENCE)
    of_the_study = {
        *(f"{seed}", f"{math.floor(expected.min(axis=None))}", f"{round(expected.max(axis=None))}"),
        *("-".join(map(str, layers)), f"{networks * len(PARAMS.arms)}", f"{PARAMS.training.batch_size}"),
        *(f"{math.log(layers[-1]):.2f}", f"{layers[-1]}", f"{100 * ROUNDING:.0f}"),
        *(f"{networks}", f"{clear}", f"{p[clear]:.2f}"),
    }
    of_the_text = {
        *("1", "2", "3", "4", "5", "6"),  # sections of the assignment
        *("90", "91", "3.11", "95", "1e-10", "1e-9"),  # an example, Python, intervals, tests
        *("7", "0.3"),  # gigabytes, measured
        "85",  # per cent, see diagnosis.COLLAPSED
    }
    found = set(re.findall(r"(?<![\w.])\d[\d.,e-]*\d|(?<![\w.])\d", TEXT))
    assert found <= of_the_study | of_the_text | {str(size) for size in layers}, found
    assert of_the_study <= found


def test_what_it_says_of_the_intervals_of_the_first_table_is_what_the_report_says():
    table = pd.read_csv(io.StringIO(committed("plots/results.csv"))).set_index("arm")
    ends = table[["difference", "low", "high"]]
    clear = {arm: clear_side(Comparison(*row, 0, 0, 16)) for arm, row in ends.iterrows()}
    assert (clear["Batch norm"], clear["L2"]) == (1, 0)
    said = "Batch norm's difference is clear; L2's is uncertain, as its interval ends near zero."
    assert said in " ".join(TEXT.split())


def test_the_command_that_pairs_the_old_networks_with_the_new_ones_does_so(tmp_path):
    command = shlex.split(re.search(r"`(git diff .* plots/seeds\.csv)`", README)[1])
    (tmp_path / "plots").mkdir()
    seeds = tmp_path / "plots" / "seeds.csv"
    run = functools.partial(subprocess.run, cwd=tmp_path, check=True, capture_output=True, text=True)
    seeds.write_text("arm,seed,test\nBatch norm,0,93.26\nBatch norm,1,94.21\n")
    for arguments in ("init -q", "add .", "-c user.name=a -c user.email=a commit -qm a"):
        run(["git", *arguments.split()])
    seeds.write_text("arm,seed,test\nBatch norm,0,93.5\nBatch norm,1,94.2\n")
    found = run(command).stdout.splitlines()
    assert found[-2:] == ["Batch norm,0,[-93.26-]{+93.5+}", "Batch norm,1,[-94.21-]{+94.2+}"]


def test_every_number_in_words_is_that_of_the_study_or_measured():
    """A number is told by the words around it; what no sentence below holds is in the text without a reason."""
    networks, arms = len(PARAMS.training.seeds), len(PARAMS.arms)
    classes, narrowest = PARAMS.network.layers[-1], min(PARAMS.network.layers)
    lines = len(re.search(r"```yaml\n(.*?)```", README, re.DOTALL)[1].splitlines())
    rows = len(list(Path("metrics").glob("*/baseline.json")))
    of_the_study = [
        *(f"trains {WORDS[arms]} variants", f"trains {WORDS[networks]} networks", f"the {WORDS[networks]} networks"),
        *(f"its {WORDS[networks]} networks", f"best of {WORDS[networks]}", f"each arm has {WORDS[networks]}"),
        *(f"layer has {WORDS[narrowest]} units", f"among {WORDS[classes]} classes", f"{WORDS[classes]} probabilities"),
        f"prints {WORDS[rows]} rows per arm",
        f"A {['third', 'fourth', 'fifth'][arms - 2]} arm is {WORDS[lines]} lines",
        *("Two commands", "If the two disagree", "a difference of two values"),
    ]
    measured = [
        *("two cores", "take three to four minutes", "takes three to eight minutes", "the tests take up to nine"),
        *("a quarter of a point", "by up to two points"),  # as docs/elsewhere.md says
        *("half the validation cost of guessing", "more than a third"),  # definitions
        "half of L2's difference",  # as the test above says
    ]
    elsewhere = " ".join(Path("docs/elsewhere.md").read_text(encoding="utf-8").split())
    assert "by up to two points, the mean of an arm by up to a quarter of a point" in elsewhere
    text = " ".join(TEXT.split())
    for sentence in of_the_study + measured:
        assert sentence in text, sentence
        text = text.replace(sentence, " ")
    number = rf"\b(?:{'|'.join(WORDS[2:])}|twenty|thirty|ninety|hundred|thousand|half|quarter|third|fourth|fifth)\b"
    assert re.findall(rf"(?i).{{30}}{number}.{{30}}", text) == []


def test_no_line_of_it_is_longer_than_120_columns():
    assert [line for line in README.splitlines() if len(line) > 120] == []


def test_pictures_it_shows_exist_and_are_small():
    pictures = re.findall(r"\]\((docs/[^)]+\.png)\)", README)
    assert len(pictures) == 4
    for path in pictures:
        assert Path(path).stat().st_size < 200e3, path


@pytest.mark.parametrize("page", ["reliability", "security", "elsewhere"])
def test_every_test_that_a_page_names_exists(page):
    named = set(re.findall(r"`(test_\w+)`", Path(f"docs/{page}.md").read_text(encoding="utf-8")))
    defined = {
        name for path in Path("tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)", path.read_text())
    }
    assert named and named <= defined, named - defined


def test_the_end_shows_the_seconds_of_each_arm_s_own_steps_and_kind(tmp_path, monkeypatch, capsys):
    table = pd.read_csv(io.StringIO(committed("plots/results.csv")))
    monkeypatch.chdir(tmp_path)
    artifacts.write_table(Path("plots/results.csv"), table)
    no_checks = {"plain": [0.0], "batchnorm": [0.0]}
    artifacts.write_record(Path("results/timing"), Timing("cpu", {"plain": [0.001], "batchnorm": [0.003]}, no_checks))
    summary.main(PARAMS)
    lines = capsys.readouterr().out.split("Headline model")[1].splitlines()[1:4]
    of_a_step = [0.003 if arm.use_batchnorm else 0.001 for arm in PARAMS.arms.values()]
    expected = [f"{each * steps:,.1f}" for each, steps in zip(of_a_step, table["steps"], strict=True)]
    assert [line.split()[-1] for line in lines] == expected


def test_the_digit_is_shown_to_the_headline_model(trained, monkeypatch):
    def seen(X, parameters, *further, **options):
        caught.append(parameters)
        return forward(X, parameters, *further, **options)

    caught, forward = [], readme.L_model_forward
    monkeypatch.chdir(trained)
    monkeypatch.setattr(readme, "L_model_forward", seen)
    monkeypatch.setattr(readme, "one_example", lambda *data: b"")
    monkeypatch.setattr(readme.TrainingResult, "headline", 2)
    readme.one_digit(PARAMS)
    result = artifacts.read_record(readme.TrainingResult, Path("models/baseline"))
    assert torch.equal(caught[0]["W1"], result.parameters["W1"][2])
