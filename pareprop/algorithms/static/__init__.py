"""Algorithm `static`: fixed weights."""
