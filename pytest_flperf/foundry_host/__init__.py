"""Foundry Local runtime host: a separate process, and packaged models."""
