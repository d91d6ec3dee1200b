"""Write the C of the neuron models and of the optimizers that are compiled with the package, in the build.

``python -P cython_core/generate_models.py FOLDER``. Equations of neurons are in `pareprop/neurons/models/`.
No kernel exists yet when this runs, and the package needs kernels to be imported: so subpackages are found without
`pareprop/__init__.py`, and stubs replace modules that need kernels or HDF5.
"""

import sys
import tomllib
import types
from pathlib import Path

HEADERS = ("elementary.h", "lanes.h", "neuron_model.h")
KERNELS = Path(__file__).parent


def main() -> None:
    """Write the files, unless they are there with the same text."""
    package, numbers, files = (types.ModuleType(name) for name in ("pareprop", "pareprop.elementary", "pareprop.files"))
    package.__path__ = [str(KERNELS.parent / "pareprop")]
    package.elementary, package.files = numbers, files
    numbers.__getattr__ = lambda name: None  # exp, log and so on, which equations alone do not need
    files.parse_toml = tomllib.loads
    sys.modules |= {module.__name__: module for module in (package, numbers, files)}
    from pareprop.neurons.built_in import write_source

    sys.path.append(str(KERNELS))
    import generate_optimizers

    texts = {
        "neuron_models.h": write_source({name: (KERNELS / name).read_text() for name in HEADERS}),
        "optimizer_steps.h": generate_optimizers.write_source(),
    }
    for name, text in texts.items():
        target = Path(sys.argv[1], name)
        if not target.is_file() or target.read_text() != text:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)


if __name__ == "__main__":
    main()
