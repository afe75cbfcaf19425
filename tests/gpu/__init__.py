"""Checks on a GPU: ``python -m tests.gpu`` from the root of the repository runs all of them.

On a machine with a GPU and a build of the CUDA module they run there. With a module built for the simulated device
(``MANYFIT_CUDA=SIMULATED``) the same kernels run on the host. Without either the command says why it skips.
``python -m tests.gpu -k parity`` and other arguments of pytest choose among them.
"""
