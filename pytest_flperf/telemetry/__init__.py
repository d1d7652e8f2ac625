"""Resource telemetry: CPU, memory and NVIDIA GPUs, sampled during a case."""
