"""The past of a book from its journal: orders, the story, any moment, one file of an incident."""
