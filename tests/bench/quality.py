"""Equal quality: how far a contender's answer is from the reference, and how far it may be."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from . import reference as exact
from .data import Array, Data

#: Whose error the relative limits refer to.
YARDSTICK = "scikit-learn"


@dataclass(frozen=True, kw_only=True)
class Quality:
    """A relative error and its limit.

    Parameters
    ----------
    tolerance : float
        Largest error that counts as equal quality.
    times_sklearn : float, optional
        Where the problem itself magnifies rounding, an error up to this many times scikit-learn's
        counts as equal too.
    """

    tolerance: float
    times_sklearn: float | None = None

    what: ClassVar[str]

    def reference(self, data: Data) -> Any:
        """The answer to compare with; computed once for all contenders."""
        raise NotImplementedError

    def error(self, result: Any, expected: Any, data: Data) -> float:
        """Relative distance of a contender's result from the reference."""
        raise NotImplementedError

    def limit(self, errors: Mapping[str, float]) -> float:
        """Largest error allowed, given the error of every library that has a result."""
        if self.times_sklearn is None:
            return self.tolerance
        return max(self.tolerance, self.times_sklearn * errors.get(YARDSTICK, 0.0))

    @property
    def says(self) -> str:
        """The check in words."""
        limit = f"within {self.tolerance:.0e}"
        if self.times_sklearn is not None:
            limit += f" or {self.times_sklearn:g} times {YARDSTICK}'s own error"
        return f"{self.what}, {limit}"


def _relative(actual: Any, expected: Any, scale: float) -> float:
    """Largest absolute difference over ``scale``; NaN where the actual value holds one."""
    difference = np.asarray(actual, dtype=np.longdouble) - np.asarray(expected, dtype=np.longdouble)
    return float(np.abs(difference).max() / scale)


def _largest(*errors: float) -> float:
    """The maximum, which is NaN where one of them is (Python's ``max`` may drop it)."""
    return float(np.max(errors))


def _linear_error(model: Any, expected: exact.LinearModel, y: Array) -> float:
    """Largest error of a coefficient over the largest coefficient, and of the intercept over y's spread.

    The intercept is judged as a prediction at the mean of X would be: next to the size of what it is the
    difference of.
    """
    coef = _relative(np.ravel(model.coef_), expected.coef, float(np.abs(expected.coef).max()))
    size = max(float(np.std(y)), abs(expected.intercept))
    return _largest(coef, _relative(model.intercept_, expected.intercept, size))


@dataclass(frozen=True, kw_only=True)
class Coefficients(Quality):
    """``coef_`` and ``intercept_`` of a linear model against an orthogonal solution.

    ``extended`` solves the reference in extended precision, for data on which float64 is not exact enough
    to be the judge.
    """

    alpha: float = 0.0
    extended: bool = False

    what: ClassVar[str] = "coefficients and intercept as by QR"

    def reference(self, data: Data) -> exact.LinearModel:
        """Solve the penalised least squares problem."""
        assert data.y is not None
        return exact.ridge(data.X, data.y, self.alpha, extended=self.extended)

    def error(self, result: Any, expected: exact.LinearModel, data: Data) -> float:
        """Forward error of the fitted parameters."""
        assert data.y is not None
        return _linear_error(result, expected, data.y)

    @property
    def says(self) -> str:
        """The check in words."""
        precision = "extended precision" if self.extended else "float64"
        return super().says.replace("by QR", f"by QR in {precision}")


@dataclass(frozen=True, kw_only=True)
class PoissonGradient(Quality):
    """How far a Poisson regression is from the minimum of its objective: the gradient there."""

    alpha: float = 1.0

    what: ClassVar[str] = "gradient of the objective"

    def reference(self, data: Data) -> None:
        """Nothing: at the minimum the gradient is zero."""

    def error(self, result: Any, expected: None, data: Data) -> float:
        """Largest entry of the gradient, per unit of the mean target."""
        assert data.y is not None
        X, coef = data.X.astype(np.float64), np.asarray(result.coef_, dtype=np.float64)
        residual = (np.exp(X @ coef + float(result.intercept_)) - data.y) / len(X)
        gradient = np.append(X.T @ residual + self.alpha * coef, residual.sum())
        return float(np.abs(gradient).max() / np.mean(data.y))


@dataclass(frozen=True, kw_only=True)
class HuberObjective(Quality):
    """How far a Huber regression's objective is from its minimum."""

    epsilon: float = 1.35
    alpha: float = 1e-4

    what: ClassVar[str] = "objective over its minimum, less one"

    def reference(self, data: Data) -> float:
        """The minimum of the objective."""
        point, scale = self.minimum(data)
        return self._value(point[1:], point[0], scale, data)

    def minimum(self, data: Data) -> tuple[Array, float]:
        """Where it is, by reweighted least squares with the best scale for each step."""
        assert data.y is not None
        Z = np.column_stack((np.ones(len(data.X)), data.X.astype(np.float64)))
        penalty = np.diag([0.0] + [self.alpha] * data.X.shape[1])
        point, scale = np.linalg.lstsq(Z, data.y, rcond=None)[0], 1.0
        for _ in range(200):
            error = np.abs(data.y - Z @ point)
            for _ in range(20):
                scale *= float(np.sqrt(np.square(np.minimum(self.epsilon, error / scale)).mean()))
            weight = np.minimum(1.0, self.epsilon * scale / np.maximum(error, 1e-300)) / scale
            new = np.linalg.solve(Z.T @ (weight[:, None] * Z) + penalty, Z.T @ (weight * data.y))
            moved, point = np.abs(new - point).max(), new
            if moved <= 1e-10 * np.abs(point).max():
                break
        return point, scale

    def error(self, result: Any, expected: float, data: Data) -> float:
        """The objective at the fitted coefficients and scale."""
        value = self._value(np.asarray(result.coef_, np.float64), result.intercept_, result.scale_, data)
        return max(value / expected - 1, 0.0)

    def _value(self, coef: Any, intercept: Any, scale: float, data: Data) -> float:
        assert data.y is not None
        error = np.abs(data.y - data.X.astype(np.float64) @ coef - float(intercept)) / scale
        loss = np.where(error <= self.epsilon, error**2, 2 * self.epsilon * error - self.epsilon**2)
        return float(scale * (len(error) + loss.sum()) + self.alpha * coef @ coef)


@dataclass(frozen=True, kw_only=True)
class HuberSweep(Quality):
    """R^2 of every left-out fold, against reference fits of each training set."""

    epsilons: Sequence[float]
    folds: int

    what: ClassVar[str] = "R^2 of every epsilon and fold as of reweighted least squares"

    def reference(self, data: Data) -> Array:
        """Scores by epsilon, then fold."""
        from sklearn.model_selection import KFold

        assert data.y is not None
        scores = np.empty((len(self.epsilons), self.folds))
        for k, (train, test) in enumerate(KFold(self.folds).split(data.X)):
            spread = np.square(data.y[test] - data.y[test].mean()).sum()
            for i, epsilon in enumerate(self.epsilons):
                quality = HuberObjective(epsilon=epsilon, tolerance=self.tolerance)
                point, _ = quality.minimum(Data(data.X[train], data.y[train]))
                residual = data.y[test] - data.X[test] @ point[1:] - point[0]
                scores[i, k] = 1 - residual @ residual / spread
        return scores

    def error(self, result: Any, expected: Array, data: Data) -> float:
        """The largest error of a score."""
        if np.shape(result.scores) != expected.shape:
            return float("inf")
        return float(np.abs(np.asarray(result.scores) - expected).max())


@dataclass(frozen=True, kw_only=True)
class DualityGap(Quality):
    """How far an elastic net's objective is from its minimum, at most, over ``|y|^2``.

    The bound comes from the model's own residual; several targets are those of a multi-task model. Where
    cross-validation chose the penalty, it is ``alpha_`` and ``l1_ratio_``.
    """

    alpha: float | None = None

    what: ClassVar[str] = "duality gap over |y|^2"

    def reference(self, data: Data) -> None:
        """Nothing: the gap is a bound by itself."""

    def error(self, result: Any, expected: None, data: Data) -> float:
        """The gap of the fitted coefficients."""
        assert data.y is not None
        X, y = data.X - data.X.mean(axis=0), data.y - data.y.mean(axis=0)
        y = y.reshape(len(y), -1)
        coef = np.atleast_2d(result.coef_).T
        alpha = len(y) * (result.alpha_ if self.alpha is None else self.alpha)
        ratio = float(getattr(result, "l1_ratio_", 1.0))
        l1, l2 = alpha * ratio, alpha * (1 - ratio)
        residual = y - X @ coef
        square = (residual**2).sum() + l2 * (coef**2).sum()
        largest = np.linalg.norm(X.T @ residual - l2 * coef, axis=1).max()
        scale = min(1.0, l1 / largest)
        norms = np.linalg.norm(coef, axis=1).sum()  # of the rows: with one target absolute values
        gap = 0.5 * (1 + scale**2) * square + l1 * norms - scale * (residual * y).sum()
        return float(gap / (y**2).sum())


@dataclass(frozen=True, kw_only=True)
class PrincipalComponents(Quality):
    """Explained variances, orthonormality, and the variance that the components catch.

    Neighbouring variances are almost equal in these data, so single components are not determined; the
    variance caught by all of them is.
    """

    what: ClassVar[str] = "explained and caught variance as by eigh in float64, orthonormal components"

    def reference(self, data: Data) -> tuple[Array, Array]:
        """Covariance matrix and its eigenvalues, largest first."""
        C = exact.covariance(data.X)
        return C, np.linalg.eigvalsh(C)[::-1]

    def error(self, result: Any, expected: tuple[Array, Array], data: Data) -> float:
        """The largest of the three errors."""
        C, eigenvalues = expected
        V = np.asarray(result.components_, dtype=np.float64)
        top = eigenvalues[: len(V)]
        variance = float(np.max(np.abs(np.asarray(result.explained_variance_, dtype=np.float64) / top - 1)))
        caught = abs(float(np.einsum("ij,jk,ik->", V, C, V)) / float(top.sum()) - 1)
        orthonormal = float(np.abs(V @ V.T - np.eye(len(V))).max())
        return _largest(variance, caught, orthonormal)


@dataclass(frozen=True, kw_only=True)
class SingularTriplets(Quality):
    """Singular values of `X` as it is, orthonormality, and the squares that the components catch."""

    what: ClassVar[str] = (
        "singular values and caught squares as by eigh of X'X in float64, orthonormal components"
    )

    def reference(self, data: Data) -> tuple[Array, Array]:
        """Second moments and their eigenvalues, largest first."""
        X = data.X.astype(np.float64)
        M = X.T @ X
        return M, np.linalg.eigvalsh(M)[::-1]

    def error(self, result: Any, expected: tuple[Array, Array], data: Data) -> float:
        """The largest of the three errors."""
        M, eigenvalues = expected
        V = np.asarray(result.components_, dtype=np.float64)
        top = eigenvalues[: len(V)]
        values = float(np.max(np.abs(np.asarray(result.singular_values_, dtype=np.float64) ** 2 / top - 1)))
        caught = abs(float(np.einsum("ij,jk,ik->", V, M, V)) / float(top.sum()) - 1)
        orthonormal = float(np.abs(V @ V.T - np.eye(len(V))).max())
        return _largest(values, caught, orthonormal)


@dataclass(frozen=True, kw_only=True)
class LinearPrediction(Quality):
    """``predict`` against ``X @ coef_ + intercept_`` of the same model in float64."""

    what: ClassVar[str] = "output as of the model's own coefficients in float64"

    def reference(self, data: Data) -> None:
        """Nothing: each model is its own reference, the fits have cases of their own."""

    def error(self, result: Any, expected: None, data: Data) -> float:
        """Largest difference over the spread of the predictions."""
        model, X, output = result
        wanted = X.astype(np.float64) @ np.asarray(model.coef_, dtype=np.float64) + float(model.intercept_)
        return _shape_error(output, wanted) or _relative(output, wanted, float(np.abs(wanted).max()))


@dataclass(frozen=True, kw_only=True)
class Projection(Quality):
    """``transform`` against ``(X - mean_) @ components_.T`` of the same model in float64."""

    what: ClassVar[str] = "output as of the model's own components in float64"

    def reference(self, data: Data) -> None:
        """Nothing: each model is its own reference, the fits have cases of their own."""

    def error(self, result: Any, expected: None, data: Data) -> float:
        """Largest difference over the largest projection."""
        model, X, output = result
        centred = X.astype(np.float64) - np.asarray(model.mean_, dtype=np.float64)
        wanted = centred @ np.asarray(model.components_, dtype=np.float64).T
        return _shape_error(output, wanted) or _relative(output, wanted, float(np.abs(wanted).max()))


def _shape_error(output: Array, wanted: Array) -> float:
    return 0.0 if output.shape == wanted.shape else float("inf")


@dataclass(frozen=True, kw_only=True)
class RidgeSweep(Quality):
    """Every model of a sweep, and R^2 of every left-out fold, against direct fits of each training set.

    The peers keep no models, so theirs are held to the R^2 alone.
    """

    alphas: Sequence[float]
    folds: int

    what: ClassVar[str] = "coefficients and R^2 of every alpha and fold as of direct solves"

    def reference(self, data: Data) -> tuple[list[list[exact.LinearModel]], Array]:
        """Models and scores by alpha, then fold."""
        from sklearn.model_selection import KFold

        assert data.y is not None
        models: list[list[exact.LinearModel]] = [[] for _ in self.alphas]
        scores = np.empty((len(self.alphas), self.folds))
        for k, (train, test) in enumerate(KFold(self.folds).split(data.X)):
            x_mean, y_mean = data.X[train].mean(axis=0), data.y[train].mean()
            A, b = data.X[train] - x_mean, data.y[train] - y_mean
            G, c = A.T @ A, A.T @ b
            spread = np.square(data.y[test] - data.y[test].mean()).sum()
            for i, alpha in enumerate(self.alphas):
                coef = np.linalg.solve(G + alpha * np.eye(len(G)), c)
                models[i].append(exact.LinearModel(coef, float(y_mean - x_mean @ coef)))
                residual = data.y[test] - data.X[test] @ coef - models[i][k].intercept
                scores[i, k] = 1 - residual @ residual / spread
        return models, scores

    def error(self, result: Any, expected: tuple[list[list[exact.LinearModel]], Array], data: Data) -> float:
        """The largest error of a score or of a model."""
        assert data.y is not None
        models, scores = expected
        if np.shape(result.scores) != scores.shape:
            return float("inf")
        worst = float(np.abs(np.asarray(result.scores) - scores).max())
        if result.models is not None:
            pairs = zip(itertools.chain(*result.models), itertools.chain(*models), strict=True)
            worst = _largest(worst, *(_linear_error(model, answer, data.y) for model, answer in pairs))
        return worst


@dataclass(frozen=True, kw_only=True)
class LogLoss(Quality):
    """The penalised mean log-loss above that of scikit-learn's Newton solver at its tightest."""

    C: float = 1.0

    what: ClassVar[str] = "penalised log-loss no higher than the minimum, relative"

    def reference(self, data: Data) -> float:
        """The minimum."""
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(C=self.C, solver="newton-cholesky", tol=1e-10).fit(data.X, data.y)
        return self._loss(model, data)

    def error(self, result: Any, expected: float, data: Data) -> float:
        """How much higher, relative to the minimum; 0 where it is lower."""
        return max(0.0, self._loss(result, data) / expected - 1.0)

    def _loss(self, model: Any, data: Data) -> float:
        assert data.y is not None
        coef = np.asarray(model.coef_, dtype=np.float64)
        z = data.X.astype(np.float64) @ coef.T + np.asarray(model.intercept_, dtype=np.float64)
        if z.shape[1] == 1:
            z = np.column_stack([np.zeros(len(z)), z])
        top = z.max(axis=1)
        codes = np.searchsorted(model.classes_, data.y)
        losses = top + np.log(np.exp(z - top[:, None]).sum(axis=1)) - z[np.arange(len(z)), codes]
        return float(losses.mean() + 0.5 * np.square(coef).sum() / (self.C * len(z)))


@dataclass(frozen=True, kw_only=True)
class LogisticChoice(Quality):
    """Log-losses of the left-out rows, that of the C chosen, and the penalised loss of the model.

    The curve is flat about its best point, so a neighbour that is as good is no error.
    """

    what: ClassVar[str] = (
        "left-out log-loss of every C and fold, and loss of the model, as by a Newton solver at its tightest; the "
        "C chosen as good as the best"
    )

    def reference(self, data: Data) -> Array:
        """Scores (folds, Cs)."""
        from sklearn.linear_model import LogisticRegressionCV

        exact = LogisticRegressionCV(
            Cs=20,
            l1_ratios=(0,),
            scoring="neg_log_loss",
            use_legacy_attributes=False,
            refit=False,
            solver="newton-cholesky",
            tol=1e-10,
        )
        return np.asarray(exact.fit(data.X, data.y).scores_[:, 0])

    def error(self, result: Any, expected: Array, data: Data) -> float:
        """The largest of the three errors."""
        scores = float(np.abs(np.asarray(result.scores_[:, 0]) / expected - 1).max())
        means = expected.mean(axis=0)
        chosen = float(means[list(result.Cs_).index(result.C_)] / means.max() - 1)
        loss = LogLoss(C=result.C_, tolerance=0)
        return _largest(scores, chosen, loss.error(result, loss.reference(data), data))


@dataclass(frozen=True, kw_only=True)
class RidgeChoice(Quality):
    """The penalty chosen, its score and the model, against direct solves of every penalty.

    Without folds the score is the mean squared error, negative, of rows left out one at a time, from the
    diagonal of each hat matrix; with folds it is the mean R^2 of the folds left out.
    """

    alphas: Sequence[float]
    folds: int | None = None

    what: ClassVar[str] = "penalty, score and coefficients as of direct solves"

    def reference(self, data: Data) -> tuple[float, float, exact.LinearModel]:
        """Penalty, score and model."""
        assert data.y is not None
        if self.folds is not None:
            scores = (
                RidgeSweep(alphas=self.alphas, folds=self.folds, tolerance=0).reference(data)[1].mean(axis=1)
            )
        else:
            scores = np.array([self._left_out(data.X, data.y, alpha) for alpha in self.alphas])
        best = int(np.argmax(scores))
        return self.alphas[best], float(scores[best]), exact.ridge(data.X, data.y, self.alphas[best])

    @staticmethod
    def _left_out(X: Array, y: Array, alpha: float) -> float:
        A, b = X - X.mean(axis=0), y - y.mean()
        inverse = np.linalg.inv(A.T @ A + alpha * np.eye(A.shape[1]))
        residual = b - A @ (inverse @ (A.T @ b))
        leverage = 1 / len(A) + np.einsum("ij,ij->i", A @ inverse, A)
        return float(-np.mean(np.square(residual / (1 - leverage))))

    def error(self, result: Any, expected: tuple[float, float, exact.LinearModel], data: Data) -> float:
        """The largest of the three errors; another penalty is no answer."""
        assert data.y is not None
        alpha, score, answer = expected
        search = hasattr(result, "best_params_")
        if (result.best_params_["alpha"] if search else result.alpha_) != alpha:
            return float("inf")
        model = result.best_estimator_ if search else result
        return _largest(abs(float(result.best_score_) / score - 1), _linear_error(model, answer, data.y))
