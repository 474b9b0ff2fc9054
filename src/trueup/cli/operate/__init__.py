"""Commands for a running bot: status, plan, approve, settle, rebind."""
