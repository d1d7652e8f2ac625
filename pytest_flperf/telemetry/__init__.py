"""What a case costs the machine: processors, memory and NVIDIA GPUs, sampled while it is played."""
