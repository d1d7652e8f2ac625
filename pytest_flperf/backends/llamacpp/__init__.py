"""llama.cpp backend: a llama-server of our own, or a running one."""
