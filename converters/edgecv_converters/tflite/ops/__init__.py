"""One file per operator family; each lists its rules in ``RULES`` and is found by itself."""
