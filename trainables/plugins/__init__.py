"""Methods from outside: a file, a folder or an installed package whose methods stand beside ours (docs/plugins.md)."""
