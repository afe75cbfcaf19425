"""Linear models: ordinary least squares and ridge regression."""

from manyfit.linear_model._linear_regression import LinearRegression
from manyfit.linear_model._ridge import Ridge

__all__ = ["LinearRegression", "Ridge"]
