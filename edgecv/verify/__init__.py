"""Proof that an artifact carries what its source says."""
