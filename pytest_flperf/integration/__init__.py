"""Everything besides the plugin itself that knows pytest."""
