"""Own scorers: functions of a suite, and the hook of conftest files."""
