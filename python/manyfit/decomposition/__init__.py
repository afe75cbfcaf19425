"""Matrix decompositions: principal components and the truncated singular value decomposition."""

from manyfit.decomposition._incremental_pca import IncrementalPCA
from manyfit.decomposition._pca import PCA
from manyfit.decomposition._truncated_svd import TruncatedSVD

__all__ = ["PCA", "IncrementalPCA", "TruncatedSVD"]
