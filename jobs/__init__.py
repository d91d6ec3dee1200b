"""Job scripts, which `pareprop jobs --write DIR` copies, and the large network that one of them trains."""
