"""How the built-in detector is trained: a teacher's averaged labels, composed scenes, assignment, losses, the run."""
