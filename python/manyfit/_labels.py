"""Labels of classes: what counts as one, and which there are."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import assert_all_finite, column_or_1d

__all__ = ["assert_classes", "checked_labels"]


def checked_labels(y: Any, owner: str) -> NDArray[Any]:
    """`y` as one label for each sample.

    Raises
    ------
    ValueError
        For labels that are missing, continuous, or of kinds that have no order among them.
    """
    if isinstance(y, str | bytes):
        raise ValueError(f"{owner}: y must be a sequence of labels, got {y!r}")
    labels: NDArray[Any] = column_or_1d(y, warn=True)
    if labels.dtype == object:
        _assert_sortable(labels, owner)
    assert_all_finite(labels, estimator_name=owner, input_name="y")
    check_classification_targets(labels)
    return labels


def _assert_sortable(labels: NDArray[Any], owner: str) -> None:
    first: dict[bool, tuple[int, str]] = {}
    for row, label in enumerate(labels.tolist()):
        if label is None or type(label).__name__ in ("NAType", "NaTType") or label != label:
            raise ValueError(
                f"{owner}: y must hold a label for every sample, got {label!r} for sample {row} (Input y contains NaN)"
            )
        first.setdefault(isinstance(label, str), (row, type(label).__name__))
    if len(first) > 1:
        kinds = " and ".join(f"{kind} (sample {row})" for row, kind in first.values())
        raise ValueError(f"{owner}: y must hold labels of one kind, got {kinds}")


def assert_classes(owner: str, classes: NDArray[Any]) -> None:
    """Raise for labels of one class."""
    if len(classes) < 2:
        raise ValueError(
            f"{owner}: y must have at least 2 classes, got only one class: {classes.tolist()[0]!r} "
            "(This solver needs samples of at least 2 classes in the data)"
        )
