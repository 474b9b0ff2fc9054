"""The live view of a bot: draw its status on a console, and give the screen back."""
