"""Commands of ``harness`` that are more than a few lines, one module each; ``harness.cli`` adds them to the group."""
