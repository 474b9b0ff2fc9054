"""Is a gateway what it says it is? The written protocol's checks against any gateway's port."""
