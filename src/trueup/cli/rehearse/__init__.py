"""Commands that rehearse failures: `trueup drill` and `trueup sim`."""
