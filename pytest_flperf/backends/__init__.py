"""Backends: one module per kind of server, one shared Protocol."""
