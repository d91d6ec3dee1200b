"""Paths of the case files, networks and recordings that the tests read; `cases/README.md` says what they are."""

from pathlib import Path

CASES = Path(__file__).parent / "cases"
SONATA, RECORDINGS = CASES / "sonata", CASES / "n-mnist"


def find(folder: str, names: str = "*") -> list[str]:
    """Paths of the cases in a folder, by name; a folder without any is a mistake."""
    found = sorted(str(path) for path in (CASES / folder).glob(f"{names}.h5"))
    assert found, f"no cases {names}.h5 in {CASES / folder}"
    return found


GOLDEN, RESOLUTIONS, REWARDS = find("golden"), find("resolutions"), find("rewards")
