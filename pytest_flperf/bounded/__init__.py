"""Child process with limits on time and memory."""
