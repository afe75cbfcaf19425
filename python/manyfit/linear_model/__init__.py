"""Linear models: least squares, ridge, Lasso, elastic net, logistic, Poisson, Huber, gradient descent, SGD."""

from manyfit.linear_model._elastic_net import ElasticNet, Lasso, enet_path, lasso_path
from manyfit.linear_model._elastic_net_cv import ElasticNetCV, LassoCV
from manyfit.linear_model._gradient_descent import GradientDescentClassifier, GradientDescentRegressor
from manyfit.linear_model._huber import HuberRegressor
from manyfit.linear_model._linear_regression import LinearRegression
from manyfit.linear_model._logistic import LogisticRegression
from manyfit.linear_model._logistic_cv import LogisticRegressionCV
from manyfit.linear_model._multi_task import MultiTaskElasticNet, MultiTaskLasso
from manyfit.linear_model._multi_task_cv import MultiTaskElasticNetCV, MultiTaskLassoCV
from manyfit.linear_model._perceptron import Perceptron
from manyfit.linear_model._poisson import PoissonRegressor
from manyfit.linear_model._ridge import Ridge
from manyfit.linear_model._ridge_classifier import RidgeClassifier, RidgeClassifierCV
from manyfit.linear_model._ridge_cv import RidgeCV
from manyfit.linear_model._sgd import SGDClassifier, SGDRegressor

__all__ = [
    "ElasticNet",
    "ElasticNetCV",
    "GradientDescentClassifier",
    "GradientDescentRegressor",
    "HuberRegressor",
    "Lasso",
    "LassoCV",
    "LinearRegression",
    "LogisticRegression",
    "LogisticRegressionCV",
    "MultiTaskElasticNet",
    "MultiTaskElasticNetCV",
    "MultiTaskLasso",
    "MultiTaskLassoCV",
    "Perceptron",
    "PoissonRegressor",
    "Ridge",
    "RidgeCV",
    "RidgeClassifier",
    "RidgeClassifierCV",
    "SGDClassifier",
    "SGDRegressor",
    "enet_path",
    "lasso_path",
]
