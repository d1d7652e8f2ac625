"""A child process with limits on time and memory."""
