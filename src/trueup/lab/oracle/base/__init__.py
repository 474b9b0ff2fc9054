"""The basis of every checker: the truth of the run so far, and the class that checkers extend."""
