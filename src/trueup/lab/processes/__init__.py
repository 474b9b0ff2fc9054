"""Real processes of trueup, started by a rehearsal and ended with it."""
