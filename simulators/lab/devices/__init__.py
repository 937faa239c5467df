"""One bench device a file: what its simulator can do, as a table of actions."""
