"""AIF360, imported quietly and fed with plain arrays.

Everything is a number before AIF360 sees it, so that its trouble with pandas' strings does not arise.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Array = NDArray[np.float64]

GROUPS = {"unprivileged_groups": [{"privileged": 0.0}], "privileged_groups": [{"privileged": 1.0}]}


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what AIF360 says on import: optional packages that clew does not use, through the root logger.

    `logging.warning` also installs a handler on the root logger where there is none; that is undone.
    """
    root, level = logging.getLogger(), logging.root.manager.disable
    handlers = list(root.handlers)
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
        root.handlers[:] = handlers


def dataset(favorable: Bools, privileged: Bools, weights: Array | None = None) -> Any:
    """A BinaryLabelDataset of n rows: 1 is the favourable label, and being privileged is the protected attribute."""
    import pandas as pd

    with _quiet():
        from aif360.datasets import BinaryLabelDataset

        frame = pd.DataFrame({"favorable": favorable, "privileged": privileged}, dtype=np.float64)
        frame["weight"] = 1.0 if weights is None else weights
        return BinaryLabelDataset(
            df=frame,
            label_names=["favorable"],
            protected_attribute_names=["privileged"],
            instance_weights_name="weight",
        )


def label_metric(favorable: Bools, privileged: Bools, weights: Array) -> Any:
    """AIF360's BinaryLabelDatasetMetric of labels."""
    with _quiet():
        from aif360.metrics import BinaryLabelDatasetMetric

        return BinaryLabelDatasetMetric(dataset(favorable, privileged, weights), **GROUPS)


def classification_metric(actual: Bools, predicted: Bools, privileged: Bools) -> Any:
    """AIF360's ClassificationMetric of predictions against labels."""
    with _quiet():
        from aif360.metrics import ClassificationMetric

        return ClassificationMetric(dataset(actual, privileged), dataset(predicted, privileged), **GROUPS)


def reweighing(favorable: Bools, privileged: Bools, weights: Array) -> Array:
    """The weights that AIF360's Reweighing (Kamiran and Calders, 2012) gives to n rows of these weights.

    A (group, label) without weight has none to give: its rows keep theirs.
    """
    with _quiet():
        from aif360.algorithms.preprocessing import Reweighing

        with np.errstate(all="ignore"):
            data = dataset(favorable, privileged, weights)
            weighed = Reweighing(**GROUPS).fit_transform(data).instance_weights
    return np.where(np.isfinite(weighed), weighed, weights)


def number(measure: Any, *args: Any) -> float:
    """Call one of AIF360's measures; NaN or infinity where it divides by 0."""
    with np.errstate(all="ignore"):
        return float(measure(*args))
