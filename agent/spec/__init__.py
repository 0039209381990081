"""What people write: YAML text with places, the sections, the checks between them. Changes nothing on the host."""
