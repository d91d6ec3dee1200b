"""Package of Spack for Hershey-Fonts, whose strokes the task handwriting writes; PyPI has it as a wheel alone."""

import os

from spack.package import license, version
from spack_repo.builtin.build_systems.python import PythonPackage


class PyHersheyFonts(PythonPackage):
    """Vector fonts of Hershey in Python."""

    # of `pip download --no-deps Hershey-Fonts==2.1.0`: install from its folder
    url = f"file://{os.getcwd()}/Hershey_Fonts-2.1.0-py2.py3-none-any.whl"
    manual_download = True

    license("MIT")

    version("2.1.0", sha256="e53ef56bdef231f10f0576a6570f49fcc8442e45115028bc52a7ade15d824581", expand=False)
