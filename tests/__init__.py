"""The tests of the agent; see CONTRIBUTING.md for how to run them."""
