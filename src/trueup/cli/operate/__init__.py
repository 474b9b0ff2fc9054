"""Commands for a running bot: status, plan, approve, settle, pause, close, sync, stop."""
