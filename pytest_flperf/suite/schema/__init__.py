"""Schema of suite files: keys, types, JSON Schema."""
