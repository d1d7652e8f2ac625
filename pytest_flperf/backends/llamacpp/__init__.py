"""llama.cpp: llama-server, started or running."""
