"""Refuse parameters that do not go with the data, of which ``params.yaml`` alone does not tell."""

from __future__ import annotations

from pipeline.data import preprocessing
from pipeline.params import Params


def require_fit(params: Params, name: str, classes: int, examples: int) -> None:
    """Check the parameters against a data set.

    Parameters
    ----------
    params : Params
    name : str
        What the data set is called.
    classes : int
    examples : int
        In its training set, before a part of it is set aside.

    Raises
    ------
    ValueError
        If the network does not end in the classes, the validation set or what is left for training is empty, or a
        batch is larger than that; the message names the key, the value and what is allowed.
    """
    layers, batch, share = params.network.layers, params.training.batch_size, params.data.validation_fraction
    if layers[-1] != classes:
        raise ValueError(f"network.layers is {layers}: it must end in the {classes} classes of {name}")
    try:
        train, _ = preprocessing.split_indices(examples, share, seed=0)
    except ValueError as error:
        raise ValueError(
            f"data.validation_fraction is {share}: of the {examples:,} training examples of {name} "
            "it must set at least one aside and leave at least one"
        ) from error
    if batch > len(train):
        raise ValueError(
            f"training.batch_size is {batch}: it must be at most the {len(train):,} examples of {name} that "
            "are left to train on"
        )
