"""Terminal reports: tables and lines."""
