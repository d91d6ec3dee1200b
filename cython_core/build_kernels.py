"""Build every `cython_core/*.pyx` as an extension module `pareprop.core.*`, and choose the files of an sdist.

Named in pyproject.toml as the commands `build_ext` and `sdist`. Two environment variables switch the build, both may be
set:

``PAREPROP_PORTABLE=1``
    code for any processor of the architecture, not for this machine's vector instructions
``PAREPROP_CHECKED=1``
    bounds and initialisation checks, little optimisation: for tests

CC, CFLAGS and LDFLAGS count as elsewhere: the compiler, and flags that come after our own but for those that keep
results the same everywhere.

`pareprop.core.build_info` tells at run time what was used.
"""

import hashlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension
from setuptools.command.build_ext import build_ext
from setuptools.command.sdist import sdist

KERNELS = Path("cython_core")
EQUATIONS = Path("pareprop", "neurons")
SOURCES = (".pyx", ".pxd", ".pxi", ".h")
MODELS = "neuron_models.h"  # is generated
# Cython's code for typed memoryviews: once in this module instead of in each kernel, which halves the time of a build.
SHARED = "pareprop.core.memoryviews"
# The results must not depend on the machine or a user's CFLAGS: no fused multiply-add, nothing of -ffast-math that
# changes a value.
COMMON = ["-fno-fast-math", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
NATIVE = ["-march=native", "-mcpu=native"]  # the second where a compiler knows only that one
# Sets that compilers choose by themselves; others, such as pku, are the system's.
INSTRUCTIONS = r"abm|adx|amx|avx|bmi|f16c|fma|gfni|movbe|popcnt|sse|ssse|v?aes|v?pclmul"
WIDTH = ["-mprefer-vector-width=512"]
# Kernels with many arrays are vectorised only if gcc may check this many pairs for overlap at run time.
ALIASES = ["--param=vect-max-version-for-alias-checks=200"]
# Names of functions and lines in a debugger; more takes a third of the time of a build.
DEBUG = ["-g1"]
# Where a function starts in its cache line must not depend on what stands before it: that alone makes 10 % in some.
STARTS = ["-falign-functions=64"]


def switched_on(name: str) -> bool:
    """Tell whether an environment variable is set to something other than 0."""
    return os.environ.get(name, "0") not in ("", "0")


def digest(files: list[str]) -> str:
    """Return a digest of the names and texts of files, wherever they lie."""
    found = hashlib.sha256()
    for path in sorted(map(Path, files), key=lambda path: path.name):
        found.update(f"{path.name} {path.stat().st_size}\n".encode() + path.read_bytes())
    return found.hexdigest()[:16]


def depends(path: Path) -> list[str]:
    """List the files that a kernel includes or cimports, and those that they do."""
    files: set[Path] = set()
    waiting = [path]
    while waiting:
        path = waiting.pop()
        text = path.read_text()
        names = [path.parent / name for name in re.findall(r'^include "(.+)"', text, re.MULTILINE)]
        headers = re.findall(r'^cdef extern from "(.+\.h)"', text, re.MULTILINE)
        names += [KERNELS / name for name in headers if (KERNELS / name).is_file()]
        names += [(path.parent / name).resolve() for name in re.findall(r'^#include "(.+)"', text, re.MULTILINE)]
        modules = re.findall(r"^from pareprop\.core\.?([\w.]*) cimport (\w*)", text, re.MULTILINE)
        names += [KERNELS / f"{(module or name).replace('.', '/')}.pxd" for module, name in modules]
        waiting += set(names) - files
        files.update(names)
    return sorted(map(str, files))


class SourceDistribution(sdist):
    """`sdist` of what builds and installs: setuptools would add a part of the tests, which cannot run alone."""

    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        """Leave out the tests."""
        super().make_release_tree(base_dir, [file for file in files if Path(file).parts[0] != "tests"])


class BuildKernels(build_ext):
    """`build_ext` that collects the kernels, sets directives and flags, and rebuilds only what changed."""

    def finalize_options(self) -> None:
        """Collect the kernels; keep the objects of editable installs, which are otherwise built from scratch."""
        kernels = {path: depends(path) for path in KERNELS.glob("*.pyx")}
        # those that compile longest come first, so that no processor waits for another at the end
        lines = {path: sum(Path(file).stat().st_size for file in [path, *kernels[path]]) for path in kernels}
        self.distribution.ext_modules = [
            *(Extension(f"pareprop.core.{path.stem}", [str(path)], depends=kernels[path], include_dirs=[str(KERNELS)])
              for path in sorted(kernels, key=lambda path: (-lines[path], path))),
            Extension(SHARED, []),
        ]  # fmt: skip
        super().finalize_options()
        if self.inplace:
            self.build_lib = self.build_temp = f"build/inplace-{sys.implementation.cache_tag}"
        self.parallel = self.parallel or min(2, os.cpu_count() or 1)
        models = next(item for item in self.distribution.ext_modules if item.name.endswith(".neuron_models"))
        models.include_dirs.append(self.build_temp)
        sources = [KERNELS / "generate_models.py", *EQUATIONS.glob("*.py"), *EQUATIONS.glob("models/*.toml")]
        models.depends += sorted(str(path) for path in [*sources, *KERNELS.glob("*.h")])
        about = next(item for item in self.distribution.ext_modules if item.name.endswith(".build_info"))
        about.depends = sorted(str(path) for path in KERNELS.rglob("*") if path.suffix in SOURCES)

    def build_extensions(self) -> None:
        """Translate and compile what is older than its sources, or everything if the switches changed."""
        checked, portable = switched_on("PAREPROP_CHECKED"), switched_on("PAREPROP_PORTABLE")
        mode = "-".join(["checked"] * checked + ["portable" if portable else "native"])
        flags = self.flags(checked, portable)
        stamp, built = Path(self.build_temp, "flags"), f"{mode} {' '.join(flags)}"
        if not stamp.is_file() or stamp.read_text() != built:
            stamp.unlink(missing_ok=True)  # stays away if this build is interrupted
            self.force = True
        self.generate_models()
        self.translate(checked)
        for extension in self.extensions:
            extension.extra_compile_args = [*flags, "-O1"] if extension.name == SHARED else flags
            if extension.name.endswith(".build_info"):
                extension.depends.append(str(Path(self.build_temp, MODELS)))
                extension.extra_compile_args = [flag for flag in flags if flag not in NATIVE]  # runs on any processor
                extension.define_macros = [
                    ("PAREPROP_MODE", f'"{mode}"'),
                    ("PAREPROP_FLAGS", f'"{" ".join(flags)}"'),
                    ("PAREPROP_INSTRUCTIONS", f'"{" ".join(self.instructions(flags))}"'),
                    ("PAREPROP_COMPILER", f'"{shlex.join(self.compiler.compiler_so)}"'),
                    ("PAREPROP_SOURCES", f'"{digest(extension.depends)}"'),
                ]
        super().build_extensions()
        stamp.write_text(built)
        self.write_stubs(Path(self.build_lib, "pareprop", "core"))

    def generate_models(self) -> None:
        """Write the C of the neuron models of the package."""
        target = Path(self.build_temp, MODELS)
        subprocess.run([sys.executable, "-P", str(KERNELS / "generate_models.py"), str(target)], check=True)

    def write_stubs(self, folder: Path) -> None:
        """Write the types of the kernels into a folder."""
        subprocess.run([sys.executable, str(KERNELS / "stubs.py"), str(folder)], check=True)

    def link(self) -> str:
        """Return a folder in which kernels find each other's declarations by the names they are imported by."""
        folder = Path(self.build_temp, "cimport")
        package = folder / "pareprop" / "core"
        package.parent.mkdir(parents=True, exist_ok=True)
        package.unlink(missing_ok=True)  # the sources may have moved
        package.symlink_to(KERNELS.resolve(), target_is_directory=True)
        return str(folder)

    def translate(self, checked: bool) -> None:
        """Run Cython over the kernels."""
        directives = {
            "language_level": 3,
            "boundscheck": checked,
            "initializedcheck": checked,
            "wraparound": False,
            "cdivision": True,
        }
        translated = cythonize(
            self.extensions,
            build_dir=self.build_temp,
            include_path=[self.link()],
            compiler_directives=directives,
            emit_linenums=bool(self.cython_line_directives),
            shared_utility_qualified_name=SHARED,
            nthreads=self.parallel,
            force=self.force,
        )
        sources = {extension.name: extension.sources for extension in translated}
        for extension in self.extensions:
            extension.sources = sources[extension.name]

    def flags(self, checked: bool, portable: bool) -> list[str]:
        """Choose the flags that this compiler understands."""
        flags = ["-O1" if checked else "-O3"]
        if not portable:
            flags += [flag for flag in NATIVE if self.understands(flag)][:1]
            flags += [flag for flag in WIDTH if self.understands(flag)]
        flags += [flag for flag in ALIASES + STARTS + DEBUG if self.understands(flag)]
        return [*flags, *shlex.split(os.environ.get("CFLAGS", "")), *COMMON]

    def understands(self, flag: str) -> bool:
        """Ask the compiler about a flag."""
        command = [*self.compiler.compiler_so, "-Werror", flag, "-x", "c", "-c", os.devnull, "-o", os.devnull]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def instructions(self, flags: list[str]) -> list[str]:
        """List the instruction sets that the compiler may use with these flags, by their names in /proc/cpuinfo."""
        command = [*self.compiler.compiler_so, *flags, "-dM", "-E", "-x", "c", os.devnull]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        macros = {name.lower() for name in re.findall(r"^#define __(\w+?)__ 1$", done.stdout, re.MULTILINE)}
        try:
            processor = re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        except OSError:  # not Linux
            return []
        names = macros & set(processor[1].split()) if processor else set()
        return sorted(name for name in names if re.match(INSTRUCTIONS, name))

    def copy_extensions_to_source(self) -> None:
        """Copy the results of an in-place build, also over newer ones built with other switches."""
        self.force = True
        super().copy_extensions_to_source()
        core = Path("build/stubs/pareprop/core")  # a package of its own for mypy, which knows no editable installs
        self.write_stubs(core)
        for package in (core, core.parent):
            (package / "__init__.pyi").touch()
