"""Engines behind one protocol: a file per backend; importing this package loads none of them."""
