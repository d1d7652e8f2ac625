"""The Foundry Local runtime in a process of its own, and the models that ship with the package."""
