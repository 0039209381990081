"""How plans, outcomes, problems and the status are shown: as text for people and as JSON for programs."""
