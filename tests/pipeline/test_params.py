"""The shipped parameters load; a wrong file is refused in words that help."""

import contextlib
import copy
import itertools
import os
import re
import shutil
from types import SimpleNamespace

import psutil
import pytest
import torch
from dvc.utils.hydra import apply_overrides
from dvc.utils.serialize import YAMLFileCorruptedError, dumps_yaml, load_yaml
from wrong_params import (
    ARM,
    COSTLY,
    NEEDED,
    NO_MAPS,
    SHIPPED,
    VALUES,
    WRONG,
    dotted,
    misspelt,
    with_value,
    without,
)

from pipeline.params import ParamsError, load_params
from pipeline.text import shown
from stages import check
from stages.launch import processes_for


def complaint(tmp_path, text):
    """Load a text as params.yaml and return what is said about it."""
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ParamsError) as caught:
        load_params(path)
    message = str(caught.value)
    assert message.startswith("params.yaml")
    assert len(message.splitlines()) <= 2
    return message


def test_the_shipped_file_loads_with_its_values():
    params = load_params(SHIPPED)
    assert params.model_dump() == VALUES
    assert list(params.arms) == list(VALUES["arms"])


def test_the_shipped_file_is_the_briefs_configuration():
    params = load_params(SHIPPED)
    assert (params.data.dataset, params.data.validation_fraction) == ("mnist", 0.2)
    assert (params.network.layers, params.training.learning_rate) == ([20, 7, 5, 10], 0.009)
    assert params.training.patience == 100
    first, second, *_ = params.arms.values()
    assert (first.use_batchnorm, first.l2, second.use_batchnorm) == (False, 0.0, True)


def test_the_l2_arms_lambda_is_one_of_the_path():
    assert VALUES["arms"]["l2"]["l2"] in VALUES["l2_path"]["values"]


def test_training_settings_are_all_but_seeds_and_where_it_runs():
    others = ("seeds", "device", "threads", "processes")
    expected = {name: value for name, value in VALUES["training"].items() if name not in others}
    assert load_params(SHIPPED).training.settings() == expected


def test_params_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        load_params(SHIPPED).training.batch_size = 1


@pytest.mark.parametrize("path", NEEDED, ids=dotted)
def test_a_missing_key_is_named(tmp_path, path):
    assert f"{dotted(path)} is missing" in complaint(tmp_path, without(path))


@pytest.mark.parametrize("path", NEEDED, ids=dotted)
def test_a_misspelt_key_is_refused_and_the_right_one_named(tmp_path, path):
    said = complaint(tmp_path, misspelt(path))
    assert said == f"params.yaml: {dotted(path)}x is not a key that this file may have, and {dotted(path)} is missing"


def test_of_several_misspelt_keys_one_is_named_and_the_others_counted(tmp_path):
    values = copy.deepcopy(VALUES)
    values["training"]["batchsize"] = values["training"].pop("batch_size")
    values["data"]["data_set"] = values["data"].pop("dataset")
    said = complaint(tmp_path, dumps_yaml(values))
    assert re.fullmatch(r"params\.yaml: (\S+) is not a key that this file may have, and (\S+) is missing \(.*\)", said)
    assert said.endswith("(and 2 more)")


def test_what_is_missing_and_what_is_extra_are_not_taken_for_one_where_they_are_not_alike(tmp_path):
    values = copy.deepcopy(VALUES)
    values["training"]["momentum"] = values["training"].pop("batch_size")
    assert complaint(tmp_path, dumps_yaml(values)) == "params.yaml: training.batch_size is missing (and 1 more)"


@pytest.mark.parametrize(
    ("before", "twice"),
    [
        ("data:", "timing"),
        ("  patience:", "patience"),
        ("  baseline:", "l2"),
        ("    use_batchnorm: false\n    l2: 0.0", "title"),
    ],
)
def test_a_key_that_is_there_twice_is_refused_and_named(tmp_path, before, twice):
    text = SHIPPED.read_text(encoding="utf-8")
    indent = before[: len(before) - len(before.lstrip())]
    value = {"timing": "{rounds: 1, steps: 1}", "l2": "{title: x, use_batchnorm: true, l2: 1.0}"}.get(twice, "7")
    doubled = text.replace(before, f"{indent}{twice}: {value}\n{before}", 1)
    assert doubled != text
    said = complaint(tmp_path, doubled)
    assert f'found duplicate key "{twice}"' in said
    assert re.search(r"line \d+, column \d+", said)


@pytest.mark.parametrize("key", ["network", "training.seeds", "data.dataset", "training.batch_size"])
def test_a_long_wrong_value_is_shown_by_its_beginning(tmp_path, key):
    said = complaint(tmp_path, with_value(key.split("."), {str(k): "x" * 100 for k in range(100)}))
    assert len(said) < 400
    assert key.partition(".")[0] in said


@pytest.mark.parametrize(
    "section", [(), ("data",), ("network",), ("training",), ("arms", ARM), ("l2_path",), ("timing",)], ids=dotted
)
def test_an_extra_key_is_named(tmp_path, section):
    path = (*section, "momentum")
    message = complaint(tmp_path, with_value(path, 0.9))
    assert message == f"params.yaml: {dotted(path)} is not a key that this file may have"


def test_a_key_that_is_not_text_is_refused(tmp_path):
    assert "1 is 1: keys should be strings" in complaint(tmp_path, with_value((1,), 2))


@pytest.mark.parametrize(("key", "value", "allowed"), WRONG, ids=[f"{key}={value!r}" for key, value, _ in WRONG])
def test_a_wrong_value_is_named_with_what_is_allowed(tmp_path, key, value, allowed):
    path = [int(part) if part.isdigit() else part for part in key.split(".")]
    message = complaint(tmp_path, with_value(path, value))
    assert message.startswith(f"params.yaml: {key} is {shown(repr(value))}: ")
    assert allowed in message
    assert message.isprintable() and len(message) < 400


@pytest.mark.parametrize("title", ["lambda = 0.01", "a -> b; c + d @ e", "T-shirt", "(-1)", "\N{MINUS SIGN}1"])
def test_a_title_may_hold_signs_where_no_formula_begins(tmp_path, title):
    (tmp_path / "params.yaml").write_text(with_value(("arms", ARM, "title"), title), encoding="utf-8")
    assert load_params(tmp_path / "params.yaml").arms[ARM].title == title


@pytest.mark.parametrize("name", ["Batch-Norm", "2nd", "a b", "l2.1", "", "../l2", "_l2", "l2\n", "été"])
def test_an_arm_needs_a_name_that_can_be_a_folder(tmp_path, name):
    message = complaint(tmp_path, with_value(("arms", name), VALUES["arms"][ARM]))
    assert repr(name) in message
    assert "^[a-z][a-z0-9_]*$" in message


def test_an_arm_whose_name_yaml_reads_as_a_boolean_is_refused(tmp_path):
    assert "a valid string" in complaint(tmp_path, with_value(("arms", True), VALUES["arms"][ARM]))


PLAIN = r"""
0 1 -1 +1 1. .5 -.5 +.5 .5e1 .5e+1 0.5e1 1.e3 1e-5 1E-5 1e-05 1e+5 12e03 -2E+05 1e400 1e 1e1.5 -0 -0.0 --1
010 0o10 0O10 -010 08 0_8 0x1F 0X1F -0x1 0x 0b101 0b2 1_000 1_0.5 1__0 _1 1:30 1:30.5 190:20:30 -1:30 1,000 1.2.3
yes Yes YES no No NO on On ON off Off OFF y Y n N true True TRUE tRue false False FALSE
~ null Null NULL nUll .inf -.inf +.inf .Inf .INF .nan .NaN .NAN inf nan Infinity NaN + . ..
2001-12-14 2001-1-1 2001-12-14T21:59:43Z 2001-12-14t21:59:43.10-05:00 20011214 12:30:45
'1' '1e-5' '0x1F' 'null' 'true' '2001-12-14' '' "1" "\x41" "\u00e9" "\e[2J" ½ 1L 1j 1f 0x1p3 50% a#c [] [010,1e-5]
"""
SCALARS = [*PLAIN.split(), "", " ", "a b", "a  b", "a #c", "1 # one", "|\n  1", ">-\n  1e-5", "1\n  2", "&x 1"]
SCALARS += ["2001-12-14 21:59:43", "2001-12-14 21:59:43.1 +5", "[010, yes, 1e-5, 0o10]", "!!str 1", "!!int '1'", "! 1"]
SCALARS += ["!!int 0o10", "!!float 1", "!!float '1e-5'", "!!bool yes", "!!null x", "!!binary MQ=="]
REFUSED_BY_DVC = [
    "2001-13-45",
    "._",
    "0x_",
    "!!bool x",
    "!!int ''",
    "!!float x",
    "*x",
    "!x 1",
    "@1",
    "1: 2",
    "'1",
    "- 1",
]
REFUSED_BY_DVC += ["=", "<<"]


@pytest.mark.parametrize("scalar", SCALARS)
def test_a_scalar_is_read_as_dvc_reads_it(tmp_path, scalar):
    said = complaint(tmp_path, f"data: {scalar}\n")  # which is no map, whatever it is
    value = load_yaml(tmp_path / "params.yaml")["data"]
    assert said.startswith(f"params.yaml: data is {shown(repr(value))}: input should be a valid dictionary")


@pytest.mark.parametrize("scalar", REFUSED_BY_DVC)
def test_what_dvc_cannot_read_is_refused(tmp_path, scalar):
    assert complaint(tmp_path, f"data: {scalar}\n").startswith("params.yaml is not YAML as it should be: ")
    with pytest.raises((YAMLFileCorruptedError, ValueError, LookupError)):
        load_yaml(tmp_path / "params.yaml")


@pytest.mark.parametrize("start", ["%YAML 1.1\n---\n", "%YAML 1.2\n---\n", "\ufeff", "# \u00e9\r\n", "---\r\n"])
def test_the_beginning_of_a_file_is_read_as_dvc_reads_it(tmp_path, start):
    said = complaint(tmp_path, f"{start}data: [010, on, 1:30]\n")
    assert f"data is {load_yaml(tmp_path / 'params.yaml')['data']!r}: " in said


@pytest.mark.parametrize(
    ("said", "value"),
    [("0.00001", 1e-5), ("1e-5", 1e-5), ("3", 3.0), ("0.1", 0.1), ("2.5e-07", 2.5e-7), ("1e22", 1e22)],
)
def test_a_number_that_dvc_writes_is_taken(tmp_path, said, value):
    path = tmp_path / "params.yaml"
    shutil.copy(SHIPPED, path)
    apply_overrides(path, [f"training.learning_rate={said}"])  # `dvc exp run --set-param`
    assert load_params(path).training.learning_rate == value


@pytest.mark.parametrize(("scalar", "value"), [("010", 10), ("0o10", 8), ("0x1F", 31), ("1_000", 1000), ("+7", 7)])
def test_whole_numbers_are_those_of_yaml_1_2(tmp_path, scalar, value):
    path = tmp_path / "params.yaml"
    path.write_text(re.sub("split_seed: 0", f"split_seed: {scalar}", SHIPPED.read_text(encoding="utf-8")))
    assert load_params(path).data.split_seed == load_yaml(path)["data"]["split_seed"] == value


def test_an_arm_may_have_a_name_that_was_a_boolean_in_yaml_1_1(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(re.sub(r"\bbaseline\b", "on", SHIPPED.read_text(encoding="utf-8")))
    assert {*load_params(path).arms} == {*load_yaml(path)["arms"]} == {"on", "batchnorm", "l2"}


@pytest.mark.parametrize("reference", VALUES["arms"])
def test_the_order_of_the_arms_in_the_file_makes_no_difference(tmp_path, reference):
    for names in itertools.permutations(VALUES["arms"]):
        arms = {name: VALUES["arms"][name] for name in names}
        (tmp_path / "params.yaml").write_text(dumps_yaml(VALUES | {"arms": arms, "reference": reference}))
        params = load_params(tmp_path / "params.yaml")
        assert list(params.arms) == [reference, *sorted({*names} - {reference})]


def test_batch_norm_wants_more_than_one_example(tmp_path):
    said = complaint(tmp_path, with_value(("training", "batch_size"), 1))
    assert (
        said == "params.yaml: training.batch_size is 1: must be at least 2, as arms.batchnorm normalises over a batch"
    )


def test_an_arms_name_may_have_64_letters_and_no_more(tmp_path):
    assert "at most 64 characters" in complaint(tmp_path, with_value(("arms", "a" * 65), VALUES["arms"][ARM]))
    (tmp_path / "params.yaml").write_text(with_value(("arms", "a" * 64), VALUES["arms"][ARM]), encoding="utf-8")
    assert "a" * 64 in load_params(tmp_path / "params.yaml").arms


def test_further_mistakes_are_counted(tmp_path):
    values = copy.deepcopy(VALUES)
    values["training"] |= {"batch_size": 0, "patience": 0, "threads": 0}
    assert complaint(tmp_path, dumps_yaml(values)).endswith("(and 2 more)")


@pytest.mark.parametrize(("text", "said"), NO_MAPS.values(), ids=NO_MAPS)
def test_what_is_no_map_of_sections_is_refused(tmp_path, text, said):
    assert said in complaint(tmp_path, text)


@pytest.mark.parametrize(("text", "said"), COSTLY.values(), ids=COSTLY)
def test_a_file_that_would_take_long_or_much_to_read_or_run_code_is_refused(tmp_path, text, said):
    message = complaint(tmp_path, text)
    assert said in message
    assert len(message) < 400


def test_a_file_in_another_encoding_is_refused(tmp_path):
    (tmp_path / "params.yaml").write_bytes("title: Gewöhnlich".encode("latin-1"))
    with pytest.raises(ParamsError, match=r"params\.yaml is not YAML"):
        load_params(tmp_path / "params.yaml")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ParamsError, match=r"^params\.yaml cannot be read: No such file or directory$"):
        load_params(tmp_path / "params.yaml")


def test_a_folder_in_its_place_is_named(tmp_path):
    (tmp_path / "params.yaml").mkdir()
    with pytest.raises(ParamsError, match=r"^params\.yaml cannot be read: Is a directory$"):
        load_params(tmp_path / "params.yaml")


def test_null_and_whole_numbers_are_taken_where_they_make_sense(tmp_path):
    values = copy.deepcopy(VALUES)
    values["data"]["offline_fallback"] = None
    values["training"] |= {"learning_rate": 1, "min_delta": 0, "seeds": [2**63 - 1]}
    values |= {"reference": "only", "arms": {"only": {"title": "Only", "use_batchnorm": True, "l2": 0}}}
    (tmp_path / "params.yaml").write_text(dumps_yaml(values), encoding="utf-8")
    params = load_params(tmp_path / "params.yaml")
    assert params.data.offline_fallback is None
    assert params.training.learning_rate == 1
    assert params.arms["only"].l2 == 0


GIB = 2**30


@pytest.mark.parametrize(
    ("changes", "memory", "said"),
    [
        ({}, GIB, None),
        ({("network", "layers"): [100_000, 10]}, 100 * GIB, None),
        (
            {("network", "layers"): [100_000, 10]},
            8 * GIB,
            "network.layers is [100000, 10]: 36 networks of 79,500,010 parameters need at least 42.6 GiB of memory, "
            "and this machine has 8.0",
        ),
        ({("network", "layers"): [100_000, 10], ("l2_path", "seeds"): [0]}, 20 * GIB, None),
        ({("network", "layers"): [2**62, 10]}, 2**50, "network.layers is [4611686018427387904, 10]: 36 networks of "),
        ({("training", "seeds"): [*range(99)]}, 2**24, "network.layers is [20, 7, 5, 10]: 99 networks of 15,947 "),
    ],
)
def test_networks_that_no_memory_holds_are_refused(tmp_path, changes, memory, said):
    params = loaded(tmp_path, changes)
    if said is None:
        params.require_memory(memory, on_gpu=False)
    else:
        with pytest.raises(ValueError, match=f"^{re.escape(said)}"):
            params.require_memory(memory, on_gpu=False)


@pytest.mark.parametrize(("gpus", "is_refused"), [(1, False), (0, True)])
def test_only_the_results_of_networks_that_train_on_a_gpu_are_in_memory(tmp_path, monkeypatch, gpus, is_refused):
    """With ``auto``, which is the CPU where there is no GPU."""
    params = loaded(tmp_path, {("network", "layers"): [100_000, 10], ("training", "device"): "auto"})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=16 * GIB))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"need at least 42\.6 GiB") if is_refused else contextlib.nullcontext():
        check.main(params)


@pytest.mark.parametrize("cores", [1, 2, 64])
def test_no_more_threads_and_processes_are_used_than_there_are_cores(tmp_path, monkeypatch, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(cores), raising=False)
    for threads, processes in ((1, 1), (2, 2), (1024, 16)):
        training = loaded(tmp_path, {("training", "threads"): threads, ("training", "processes"): processes}).training
        assert (training.threads, training.processes) == (threads, processes)  # what DVC sees
        assert training.usable_threads == min(threads, cores)
        assert processes_for(training, networks=100) == min(processes, cores)
        said = f"training.threads is {threads}: stages use no more threads and processes than this machine has cores, "
        assert training.said_of_cores() == (f"{said}{cores}" if threads > cores else "")


def loaded(tmp_path, changes):
    """Load the shipped parameters with changes by section and key."""
    values = copy.deepcopy(VALUES)
    for (section, key), value in changes.items():
        values[section][key] = value
    (tmp_path / "params.yaml").write_text(dumps_yaml(values), encoding="utf-8")
    return load_params(tmp_path / "params.yaml")


FIT = {"name": "mnist", "classes": 10, "examples": 60_000}


@pytest.mark.parametrize(
    ("changes", "data", "said"),
    [
        ({}, {}, None),
        ({}, {"classes": 9}, "network.layers is [20, 7, 5, 10]: it must end in the 9 classes of mnist"),
        ({("training", "batch_size"): 48_000}, {}, None),
        (
            {("training", "batch_size"): 48_001},
            {},
            "training.batch_size is 48001: it must be at most the 48,000 examples of mnist that are left to train on",
        ),
        (
            {},
            {"examples": 2},
            "data.validation_fraction is 0.2: of the 2 training examples of mnist "
            "it must set at least two (for batch norm) aside and leave at least one",
        ),
        ({("data", "validation_fraction"): 2 / 60_000}, {}, None),
        (
            {("data", "validation_fraction"): 1 / 60_000},  # with which an evaluation with batch norm would end
            {},
            "data.validation_fraction is 1.6666666666666667e-05: of the 60,000 training examples of mnist "
            "it must set at least two (for batch norm) aside and leave at least one",
        ),
        (
            {
                ("data", "validation_fraction"): 1 / 60_000,
                ("arms", "batchnorm"): {"title": "No batch norm", "use_batchnorm": False, "l2": 0.1},
            },
            {},
            None,
        ),
        (
            {("data", "validation_fraction"): 1 - 2**-30},
            {},
            "data.validation_fraction is 0.9999999990686774: of the 60,000 training examples of mnist "
            "it must set at least two (for batch norm) aside and leave at least one",
        ),
    ],
)
def test_parameters_that_do_not_fit_the_data_are_refused(tmp_path, changes, data, said):
    params = loaded(tmp_path, changes)
    if said is None:
        params.require_fit(**FIT | data)
    else:
        with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
            params.require_fit(**FIT | data)


def test_batch_norm_takes_batches_of_two(tmp_path):
    assert loaded(tmp_path, {("training", "batch_size"): 2}).training.batch_size == 2
