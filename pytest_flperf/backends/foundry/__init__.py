"""Foundry Local backends: embedded runtime hosts, or a running service."""
