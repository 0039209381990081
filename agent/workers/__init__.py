"""Programs that run apart, as an account without rights: other people's code stays out of root's process."""
