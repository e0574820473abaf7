"""Python for agents: run code that a model wrote, each request in a VM from a clean state."""
