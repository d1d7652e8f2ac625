"""Foundry Local: the embedded runtime, or a service that runs."""
