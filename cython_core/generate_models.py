"""Write the C of the neuron models that are compiled with the package, in the build.

``python -P cython_core/generate_models.py FILE``. The equations are those of `pareprop/neurons/models/`. No kernel
exists yet when this runs, and the package cannot be imported without: its rooms are found without
`pareprop/__init__.py`, and what only computes with numbers is left out.
"""

import sys
import types
from pathlib import Path

HEADERS = ("elementary.h", "lanes.h", "neuron_model.h")
KERNELS = Path(__file__).parent


def main() -> None:
    """Write the file, unless it is there with the same text."""
    package, numbers = types.ModuleType("pareprop"), types.ModuleType("pareprop.elementary")
    package.__path__ = [str(KERNELS.parent / "pareprop")]
    package.elementary = numbers
    numbers.__getattr__ = lambda name: None  # exp, log and so on, which equations alone do not need
    sys.modules |= {"pareprop": package, "pareprop.elementary": numbers}
    from pareprop.neurons.built_in import write_source

    text, target = write_source({name: (KERNELS / name).read_text() for name in HEADERS}), Path(sys.argv[1])
    if not target.is_file() or target.read_text() != text:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)


if __name__ == "__main__":
    main()
