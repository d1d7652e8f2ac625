"""Pytest integration: all code that uses pytest, except the plugin module."""
