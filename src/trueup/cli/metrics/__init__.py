"""`trueup metrics`: metrics for Prometheus and health for a supervisor."""
