"""The whole fleet in memory, as the pages show it, kept up to date from the store by change numbers."""
