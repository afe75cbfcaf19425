"""Our thread pool among those that threadpoolctl finds and limits."""

from __future__ import annotations

import threadpoolctl

__all__ = ["register"]


class _Controller(threadpoolctl.LibController):  # type: ignore[misc]  # threadpoolctl is untyped
    """The extension module that is loaded, by the C functions it exports."""

    user_api = "manyfit"
    internal_api = "manyfit"
    filename_prefixes = ("_core_base.", "_core_v2.", "_core_v3.", "_core_v4.")
    check_symbols = ("manyfit_get_num_threads", "manyfit_set_num_threads")

    def get_num_threads(self) -> int:
        """Threads that a call without ``n_jobs`` uses."""
        return int(self.dynlib.manyfit_get_num_threads())

    def set_num_threads(self, num_threads: int) -> None:
        """Limit the threads; what holds without a limit takes the limit away."""
        self.dynlib.manyfit_set_num_threads(0)
        if self.get_num_threads() != num_threads:
            self.dynlib.manyfit_set_num_threads(num_threads)

    def get_version(self) -> None:
        """Not known to the library."""
        return


def register() -> None:
    """Make threadpoolctl know our pool; scikit-learn has imported it anyway."""
    threadpoolctl.register(_Controller)
