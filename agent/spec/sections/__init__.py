"""One module per section of the spec: pydantic models, pure data and its validation."""
