"""Ask a gateway, keep the answers, and grade them."""
