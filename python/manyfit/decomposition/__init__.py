"""Matrix decompositions: principal components."""

from manyfit.decomposition._pca import PCA

__all__ = ["PCA"]
