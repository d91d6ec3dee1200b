"""Run the command line with ``python -m pareprop``."""

from pareprop.cli import main

if __name__ == "__main__":
    main()
