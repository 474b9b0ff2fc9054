"""Texts for people and programs: status, log, live view; reads the journal and never writes."""
