"""`trueup watch`: watch an account beside another bot, read-only, and report what it missed."""
