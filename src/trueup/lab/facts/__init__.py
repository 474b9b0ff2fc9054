"""The facts of a simulated run, as plain data for judges and reports."""
