"""The report of a watch beside another bot: made once from the journal, then shown in any form."""
