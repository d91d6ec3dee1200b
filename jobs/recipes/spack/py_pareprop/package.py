"""Package of Spack for pareprop: copy it, and `py_hershey_fonts` beside it, into `packages/` of a repository."""

import os

from spack.package import depends_on, license, version
from spack_repo.builtin.build_systems.python import PythonPackage


class PyPareprop(PythonPackage):
    """E-prop training of large sparse recurrent spiking networks with MPI and Cython."""

    url = f"file://{os.getcwd()}/pareprop-0.2.0.tar.gz"  # of `python -m build --sdist`: install from its folder
    manual_download = True

    license("BSD-3-Clause")

    version("0.2.0")  # without a checksum: spack install --no-checksum py-pareprop

    depends_on("c", type="build")
    depends_on("python@3.11:", type=("build", "run"))
    depends_on("py-setuptools@77.0.3:", type="build")
    depends_on("py-cython@3.2:3", type="build")
    depends_on("py-numpy", type=("build", "run"))
    depends_on("py-sympy", type=("build", "run"))
    depends_on("py-h5py", type="run")
    depends_on("py-matplotlib", type="run")
    depends_on("py-mpi4py@4:", type="run")
    depends_on("py-click", type="run")
    depends_on("py-tqdm", type="run")
    depends_on("py-pydantic@2:", type="run")
    depends_on("py-hershey-fonts", type="run")
    depends_on("py-jinja2", type="run")

    import_modules = ("pareprop", "pareprop.kernels")

    def setup_build_environment(self, env):
        """Compile kernels for all processors: nodes differ, and each rank takes the highest level of its own."""
        env.set("PAREPROP_LEVELS", "all")
        env.set("PAREPROP_MODELS", "1")

    def setup_run_environment(self, env):
        """Compile neuron models of users with the compiler of the node: Spack's wrapper is not there in a run."""
        env.set("PAREPROP_CC", "cc")
