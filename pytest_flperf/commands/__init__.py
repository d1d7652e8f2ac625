"""What ``flperf …`` can be told to do, a module per command."""
