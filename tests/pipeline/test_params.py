"""The shipped parameters load; a wrong file is refused in words that help."""

import copy
import re

import pytest
import yaml
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
    said = complaint(tmp_path, yaml.safe_dump(values))
    assert re.fullmatch(r"params\.yaml: (\S+) is not a key that this file may have, and (\S+) is missing \(.*\)", said)
    assert said.endswith("(and 2 more)")


def test_what_is_missing_and_what_is_extra_are_not_taken_for_one_where_they_are_not_alike(tmp_path):
    values = copy.deepcopy(VALUES)
    values["training"]["momentum"] = values["training"].pop("batch_size")
    assert complaint(tmp_path, yaml.safe_dump(values)) == "params.yaml: training.batch_size is missing (and 1 more)"


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
    assert f"the key {twice} appears twice" in said
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
    assert message.startswith(f"params.yaml: {key} is {value!r}: ")
    assert allowed in message


@pytest.mark.parametrize("name", ["Batch-Norm", "2nd", "a b", "l2.1", "", "../l2", "_l2", "l2\n", "été"])
def test_an_arm_needs_a_name_that_can_be_a_folder(tmp_path, name):
    message = complaint(tmp_path, with_value(("arms", name), VALUES["arms"][ARM]))
    assert repr(name) in message
    assert "^[a-z][a-z0-9_]*$" in message


def test_an_arm_cannot_be_called_what_the_metrics_call_their_comparison(tmp_path):
    message = complaint(tmp_path, with_value(("arms", "study"), VALUES["arms"][ARM]))
    assert message.startswith("params.yaml: arms.study is 'study': must not be 'study'")


def test_an_arm_whose_name_yaml_reads_as_a_boolean_is_refused(tmp_path):
    assert "a valid string" in complaint(tmp_path, with_value(("arms", True), VALUES["arms"][ARM]))


@pytest.mark.parametrize("key", ["learning_rate", "min_delta", "l2"])
def test_a_number_that_yaml_reads_as_text_is_explained(tmp_path, key):
    text = re.sub(rf"(\n +{key}: )\S+", r"\g<1>1e-3", SHIPPED.read_text(encoding="utf-8"), count=1)
    message = complaint(tmp_path, text)
    assert f"{key} is '1e-3'" in message
    assert "YAML reads 1e-3 as a string: write 1.0e-3" in message


def test_other_text_in_place_of_an_integer_is_not_explained_so(tmp_path):
    assert "1.0e-3" not in complaint(tmp_path, with_value(("training", "batch_size"), "512"))


def test_batch_norm_wants_more_than_one_example(tmp_path):
    said = complaint(tmp_path, with_value(("training", "batch_size"), 1))
    assert (
        said == "params.yaml: training.batch_size is 1: must be at least 2, as arms.batchnorm normalises over a batch"
    )


@pytest.mark.parametrize(
    ("section", "changes", "said"),
    [
        (
            "training",
            {"seeds": [0, 1]},
            "must be at most 2, the number of networks in each arm",
        ),
        (
            "l2_path",
            {"seeds": [5], "values": [0.0, 0.1]},
            "must be at most 2, the number of networks in l2_path",
        ),
    ],
)
def test_each_process_needs_a_network(tmp_path, section, changes, said):
    values = copy.deepcopy(VALUES)
    values["training"] |= {"threads": 3, "processes": 3}
    values[section] |= changes
    assert complaint(tmp_path, yaml.safe_dump(values)) == f"params.yaml: training.processes is 3: {said}"
    values["training"]["processes"] = 2
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    assert load_params(tmp_path / "params.yaml").training.processes == 2


def test_an_arms_name_may_have_64_letters_and_no_more(tmp_path):
    assert "at most 64 characters" in complaint(tmp_path, with_value(("arms", "a" * 65), VALUES["arms"][ARM]))
    (tmp_path / "params.yaml").write_text(with_value(("arms", "a" * 64), VALUES["arms"][ARM]), encoding="utf-8")
    assert "a" * 64 in load_params(tmp_path / "params.yaml").arms


def test_further_mistakes_are_counted(tmp_path):
    values = copy.deepcopy(VALUES)
    values["training"] |= {"batch_size": 0, "patience": 0, "threads": 0}
    assert complaint(tmp_path, yaml.safe_dump(values)).endswith("(and 2 more)")


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
    values["arms"] = {"only": {"title": "Only", "use_batchnorm": True, "l2": 0}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    params = load_params(tmp_path / "params.yaml")
    assert params.data.offline_fallback is None
    assert params.training.learning_rate == 1
    assert params.arms["only"].l2 == 0


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
            "it must set at least one aside and leave at least one",
        ),
        (
            {("data", "validation_fraction"): 1 - 2**-30},
            {},
            "data.validation_fraction is 0.9999999990686774: of the 60,000 training examples of mnist "
            "it must set at least one aside and leave at least one",
        ),
    ],
)
def test_parameters_that_do_not_fit_the_data_are_refused(tmp_path, changes, data, said):
    values = copy.deepcopy(VALUES)
    for (section, key), value in changes.items():
        values[section][key] = value
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    params = load_params(tmp_path / "params.yaml")
    if said is None:
        params.require_fit(**FIT | data)
    else:
        with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
            params.require_fit(**FIT | data)
