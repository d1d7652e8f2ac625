"""LiteLLM: its proxy, started or running."""
