"""Linear models: least squares, ridge, logistic and Poisson regression, ridge classifiers, gradient descent."""

from manyfit.linear_model._gradient_descent import GradientDescentClassifier, GradientDescentRegressor
from manyfit.linear_model._linear_regression import LinearRegression
from manyfit.linear_model._logistic import LogisticRegression
from manyfit.linear_model._poisson import PoissonRegressor
from manyfit.linear_model._ridge import Ridge
from manyfit.linear_model._ridge_classifier import RidgeClassifier, RidgeClassifierCV
from manyfit.linear_model._ridge_cv import RidgeCV

__all__ = [
    "GradientDescentClassifier",
    "GradientDescentRegressor",
    "LinearRegression",
    "LogisticRegression",
    "PoissonRegressor",
    "Ridge",
    "RidgeCV",
    "RidgeClassifier",
    "RidgeClassifierCV",
]
