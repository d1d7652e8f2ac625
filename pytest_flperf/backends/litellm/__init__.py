"""LiteLLM backend: a proxy of our own, or a running one."""
