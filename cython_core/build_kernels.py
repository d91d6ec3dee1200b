"""Build every `cython_core/*.pyx` as an extension module `pareprop.core.*`, and choose the files of an sdist.

Named in pyproject.toml as the commands `build_ext`, `bdist_wheel` and `sdist`. Kernels in which runs spend their time
(`LEVELLED`) are compiled once for each level of the processor, as `pareprop.core.LEVEL.*`; `pareprop/kernels.py`
chooses among these. All others run on any processor of the architecture. Environment variables:

``PAREPROP_LEVELS=v2,v3,v4``
    these levels, or ``all``; by default this machine's alone in an installation, all in a wheel
``PAREPROP_PORTABLE=1``
    the lowest level alone
``PAREPROP_MODELS=1``
    also the neuron models of the package, and the surrogate gradients of NEST's, that runs would compile where they
    first use them; always in a wheel
``PAREPROP_CHECKED=1``
    bounds and initialisation checks, little optimisation: for tests

CC, CFLAGS and LDFLAGS count as elsewhere: the compiler, and flags that come after the project's flags, except for the
flags that keep results the same everywhere. A cross compiler in CC builds for its own architecture.

`pareprop.core.build_info` has the compiler, flags and levels at run time.
"""

import copy
import hashlib
import json
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.command.sdist import sdist

KERNELS = Path("cython_core")
# Which kernels are compiled for each level; no other kernel imports one of them.
LEVELLED = {
    "interval",
    "interval_single",
    "spike",
    "spike_single",
    "neuron_models",
    "optimizers",
    "elementary_arrays",
    "topology",
    "random",
    "signs",
    "rewire",
}
# Levels by architecture, as `cc -dumpmachine` begins, lowest first: their names, and what compilers call them.
LEVELS = {
    "x86_64": {"x86-64": "x86-64", "v2": "x86-64-v2", "v3": "x86-64-v3", "v4": "x86-64-v4"},
    "aarch64": {"armv8": "armv8-a"},
}
SOURCES = (".pyx", ".pxd", ".pxi", ".h")
GENERATED = ("neuron_models.h", "optimizer_steps.h")
# Cython's code for typed memoryviews: once in this module instead of in each kernel, which halves the time of a build.
SHARED = "pareprop.core.memoryviews"
# The results must not depend on the machine or a user's CFLAGS: no fused multiply-add, nothing of -ffast-math that
# changes a value.
COMMON = ["-fno-fast-math", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
# Instruction sets that a compiler may use, by its macros, and as Linux names them in /proc/cpuinfo where that differs.
INSTRUCTIONS = {
    **{name: name for name in (
        "sse", "sse2", "ssse3", "sse4_1", "sse4_2", "sse4a", "popcnt", "avx", "avx2", "bmi2", "f16c", "fma", "movbe",
        "gfni", "vaes", "vpclmulqdq", "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl", "avx512ifma",
        "avx512vbmi",
    )},
    "sse3": "pni", "bmi": "bmi1", "lzcnt": "abm", "avx512vnni": "avx512_vnni", "avx512bf16": "avx512_bf16",
    "avx512vbmi2": "avx512_vbmi2", "avx512bitalg": "avx512_bitalg", "avx512vpopcntdq": "avx512_vpopcntdq",
    "arm_neon": "asimd", "arm_feature_sve": "sve", "arm_feature_sve2": "sve2", "arm_feature_atomics": "atomics",
    "arm_feature_dotprod": "asimddp",
}  # fmt: skip
WIDTH = ["-mprefer-vector-width=512"]
# Kernels with many arrays are vectorised only if gcc may check this many pairs for overlap at run time.
ALIASES = ["--param=vect-max-version-for-alias-checks=200"]
# Names of functions and lines in a debugger; more takes a third of the time of a build.
DEBUG = ["-g1"]
# Functions of Cython's that nothing calls in a loop, by their names: in size and time of compiling they are a fifth of
# an engine, unless they are declared cold.
COLD = re.compile(
    r"^static (?=(?:int|void|PyObject \*) ?"
    r"__pyx_(?:(?:get|set)prop_|tp_(?:new|dealloc|traverse|clear)|pf_\w+__[gs]et__))",
    re.MULTILINE,
)
# Where a function starts in its cache line must not depend on what stands before it: that alone makes 10 % in some.
STARTS = ["-falign-functions=64"]


def switched_on(name: str) -> bool:
    """Return whether an environment variable is set to something other than 0."""
    return os.environ.get(name, "0") not in ("", "0")


def processor() -> set[str]:
    """Return the instruction sets of this machine by their names in /proc/cpuinfo."""
    try:
        line = re.search(r"^(?:flags|Features)\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:  # not Linux
        return set()
    return set(line[1].split()) if line else set()


def digest(files: Iterable[Path]) -> str:
    """Return a digest of the names and texts of files, wherever they lie."""
    found = hashlib.sha256()
    for path in sorted(files, key=lambda path: path.name):
        found.update(f"{path.name} {path.stat().st_size}\n".encode() + path.read_bytes())
    return found.hexdigest()[:16]


def depends(path: Path) -> list[str]:
    """List the files that a kernel includes or cimports, and those that they do."""
    files: set[Path] = set()
    waiting = [path]
    while waiting:
        path = waiting.pop()
        text = path.read_text()
        texts = re.findall(r'^#?include "(.+)"', text, re.MULTILINE)
        # relative, as an sdist wants it
        names = [Path(os.path.normpath(path.parent / name)) for name in texts if name not in GENERATED]
        headers = re.findall(r'^cdef extern from "(.+\.h)"', text, re.MULTILINE)
        names += [KERNELS / name for name in headers if (KERNELS / name).is_file()]
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


class Wheel(bdist_wheel):
    """`bdist_wheel` with the levels in its build tag, most levels first: `pareprop-0.3.0-4.x86_64.v2.v3.v4-...whl`."""

    def get_tag(self) -> tuple[str, str, str]:
        """Set the build tag, which holds no `-`, once the kernels are built."""
        levels = getattr(self.get_finalized_command("build_ext"), "built_levels", [])
        self.build_number = f"{len(levels)}.{'.'.join(levels).replace('-', '_')}" if levels else None
        return super().get_tag()


class BuildKernels(build_ext):
    """`build_ext` that collects the kernels, sets directives and flags, and rebuilds only what changed."""

    def finalize_options(self) -> None:
        """Collect the kernels; keep the objects of editable installs, which are otherwise built from scratch."""
        kernels = {path: depends(path) for path in KERNELS.glob("*.pyx")}
        # those that compile longest come first, so that no processor waits for another at the end
        lines = {path: sum(Path(file).stat().st_size for file in [path, *kernels[path]]) for path in kernels}
        self.distribution.ext_modules = [
            *(
                Extension(f"pareprop.core.{path.stem}", [str(path)], depends=kernels[path], include_dirs=[str(KERNELS)])
                for path in sorted(kernels, key=lambda path: (-lines[path], path))
            ),
            Extension(SHARED, []),
        ]
        super().finalize_options()
        self.is_in_place = bool(self.inplace)  # which `run` unsets
        if self.inplace:
            self.build_lib = self.build_temp = f"build/inplace-{sys.implementation.cache_tag}"
        self.parallel = self.parallel or len(os.sched_getaffinity(0))
        for extension in self.distribution.ext_modules:
            texts = [Path(path).read_text() for path in [*extension.sources, *extension.depends]]
            made = [name for name in GENERATED if any(f'"{name}"' in text for text in texts)]
            extension.include_dirs += [self.build_temp] * bool(made)
            extension.depends += [str(Path(self.build_temp, name)) for name in made]

    def build_extensions(self) -> None:
        """Translate and compile kernels that are older than their sources, or all if the switches changed."""
        checked, portable = switched_on("PAREPROP_CHECKED"), switched_on("PAREPROP_PORTABLE")
        flags = self.flags(checked)
        levels = self.levels(portable, flags)
        asked = "portable" if portable else "native" if not os.environ.get("PAREPROP_LEVELS") else "-".join(levels)
        mode = "-".join(["checked"] * checked + [asked])
        models = switched_on("PAREPROP_MODELS") or not (self.is_for_here() or checked)
        stamp, built = Path(self.build_temp, "flags"), f"{self.compiler.compiler_so} {' '.join(flags)} {models=}"
        if not stamp.is_file() or stamp.read_text() != built:
            stamp.unlink(missing_ok=True)  # stays away if this build is interrupted
            self.force = True
        self.built_levels = list(levels)
        self.generate_models()
        self.translate(checked)
        print(f"kernels for the levels {', '.join(levels)} of {self.architecture()}")
        known = self.all_levels()
        lowest = next(iter(known.values()))
        built_for = self.describe(mode, flags, known, levels)
        extensions, self.extensions = self.extensions, []
        for extension in extensions:
            name = extension.name.rpartition(".")[2]
            if name == "neuron_models" and models:
                extension.define_macros.append(("PAREPROP_MODELS", None))
            for level, march in levels.items() if name in LEVELLED else [("", lowest)]:
                # kernels without a level have few long loops, and the shared code of memoryviews has none
                optimize = flags[0] if level or checked else "-O1" if extension.name == SHARED else "-O2"
                self.extensions.append(self.at_level(extension, level, [*march, optimize, *flags[1:]]))
            if name == "build_info":
                extension.depends.append(str(built_for))
                extension.include_dirs.append(self.build_temp)
        super().build_extensions()
        stamp.write_text(built)
        if models:
            self.compile_models(list(levels))
        self.write_stubs(Path(self.build_lib, "pareprop", "core"))

    def describe(self, mode: str, flags: list[str], known: dict[str, list[str]], levels: dict[str, list[str]]) -> Path:
        """Write the contents of `build_info` into a header, unless it is there."""
        lines = [
            f"{name}|{shlex.join(march)}|{' '.join(self.instructions([*march, *flags]))}"
            for name, march in levels.items()
        ]
        texts = {
            "MODE": mode,
            "FLAGS": " ".join(flags),
            "LEVELS": "\n".join(lines),
            "MARCHES": "\n".join(f"{name}|{shlex.join(march)}" for name, march in known.items()),
            "INSTRUCTIONS": " ".join(self.instructions([*next(iter(known.values())), *flags])),
            "COMPILER": shlex.join(self.compiler.compiler_so),
            "SOURCES": digest(
                [
                    *(path for path in KERNELS.rglob("*") if path.suffix in SOURCES),
                    *(Path(self.build_temp, name) for name in GENERATED),
                ]
            ),
        }
        text = "".join(f"#define PAREPROP_{name} {json.dumps(value)}\n" for name, value in texts.items())
        path = Path(self.build_temp, "built_for.h")
        if not path.is_file() or path.read_text() != text:
            path.write_text(text)
        return path

    def at_level(self, extension: Extension, level: str, flags: list[str]) -> Extension:
        """Return a kernel with its flags; for a level, with a separate path for the same C, and so for its object."""
        if level:
            extension = copy.copy(extension)
            package, _, name = extension.name.rpartition(".")
            extension.name = extension._full_name = f"{package}.{level}.{name}"
            extension._file_name = self.get_ext_filename(extension.name)
            folder = Path(self.build_temp, "levels", level)
            folder.mkdir(parents=True, exist_ok=True)
            links = [folder / Path(source).name for source in extension.sources]
            for link, source in zip(links, extension.sources, strict=True):
                link.unlink(missing_ok=True)
                link.symlink_to(Path(source).resolve())
            extension.sources = list(map(str, links))
        extension.extra_compile_args = list(flags)
        return extension

    def architecture(self) -> str:
        """Return the architecture that the compiler compiles for."""
        command = [*self.compiler.compiler_so, "-dumpmachine"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.stdout.strip().partition("-")[0] or platform.machine()

    def all_levels(self) -> dict[str, list[str]]:
        """List the levels of the architecture that this compiler knows, lowest first, with their flags."""
        width = [flag for flag in WIDTH if self.understands(flag)]
        known = {name: [f"-march={march}", *width] for name, march in LEVELS.get(self.architecture(), {}).items()}
        return {name: flags for name, flags in known.items() if self.understands(flags[0])} or {"generic": []}

    def levels(self, portable: bool, flags: list[str]) -> dict[str, list[str]]:
        """List the levels to compile for."""
        known, asked = self.all_levels(), os.environ.get("PAREPROP_LEVELS", "")
        if portable:
            names = list(known)[:1]
        elif asked == "all" or (not asked and not self.is_for_here()):
            names = list(known)
        elif asked:
            names = [name.strip() for name in asked.split(",")]
        else:
            here = processor()
            fits = [name for name, march in known.items() if set(self.instructions([*march, *flags])) <= here]
            names = fits[-1:] or list(known)[:1]
        if unknown := [name for name in names if name not in known]:
            sys.exit(
                f"PAREPROP_LEVELS: there is no level '{unknown[0]}' for {self.architecture()} with this compiler; "
                f"there are {', '.join(known)}"
            )
        return {name: known[name] for name in known if name in names}

    def is_for_here(self) -> bool:
        """Return whether this is an installation: in place, or by pip, which builds a wheel for it, too."""
        return self.is_in_place or "PIP_BUILD_TRACKER" in os.environ

    def generate_models(self) -> None:
        """Write the C of the neuron models and optimizers of the package."""
        subprocess.run([sys.executable, "-P", str(KERNELS / "generate_models.py"), self.build_temp], check=True)

    def compile_models(self, levels: list[str]) -> None:
        """Compile the neuron models of the package that runs would compile; not for another architecture."""
        if self.architecture() != platform.machine():
            return
        target = Path(self.build_lib, "pareprop", "core", "models").resolve()
        script = (
            "import sys; from pathlib import Path; from pareprop.neurons import compile, library\n"
            "for name in library.free_names():\n"
            "    compile.fill_cache(library.get_definition(name), sys.argv[2:], Path(sys.argv[1]))"
        )
        path = [str(Path(self.build_lib).resolve()), os.environ.get("PYTHONPATH", "")]  # pip: where its NumPy is
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, path))}
        command = [sys.executable, "-P", "-c", script, str(target), *levels]
        subprocess.run(command, env=environment, cwd=self.build_temp, check=True)

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
            "auto_pickle": False,  # nobody pickles kernels' objects; it is a tenth of the C of an engine
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
            for path in map(Path, extension.sources):
                text = path.read_text()
                if (marked := COLD.sub("static __attribute__((cold)) ", text)) != text:
                    path.write_text(marked)

    def flags(self, checked: bool) -> list[str]:
        """Choose the flags of all levels that this compiler understands."""
        flags = ["-O1" if checked else "-O3"]
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
        macros = {name.lower() for name in re.findall(r"^#define __(\w+?)(?:__)? 1$", done.stdout, re.MULTILINE)}
        return sorted({INSTRUCTIONS[name] for name in macros & set(INSTRUCTIONS)})

    def copy_extensions_to_source(self) -> None:
        """Copy the results of an in-place build, also over newer ones built with other switches."""
        self.force = True
        for extension in self.extensions:
            Path(KERNELS, *extension.name.split(".")[2:-1]).mkdir(exist_ok=True)
        super().copy_extensions_to_source()
        core = Path("build/stubs/pareprop/core")  # a separate package for mypy, which knows no editable installs
        self.write_stubs(core)
        for package in (core, core.parent):
            (package / "__init__.pyi").touch()
